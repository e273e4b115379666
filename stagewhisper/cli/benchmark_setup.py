"""From the options of `benchmark` to what is measured."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stagewhisper.benchmarking import Benchmark, Decoding, Grid, Settings, Workload, article
from stagewhisper.benchmarking.points import DEVICES
from stagewhisper.benchmarking.programs import DEFAULT_ENGINES, MODES
from stagewhisper.benchmarking.random_checkpoint import SHAPES, random_checkpoint
from stagewhisper.benchmarking.workloads import data_workloads, long_clip, utterances
from stagewhisper.bundle import is_bundle
from stagewhisper.compiler import default_cache_dir
from stagewhisper.errors import OptionError
from stagewhisper.evaluation import score
from stagewhisper.hub import find_model
from stagewhisper.hub.known import EMBEDDED
from stagewhisper.languages import language_code

_LEAST_WINDOWS = 4
_N_RANDOM_TOKENS = 100


def benchmark_of(
    arguments: argparse.Namespace, *, cache_dir: Path | None, offline: bool, revision: str | None
) -> Benchmark:
    """Everything that the options ask for; options are checked before anything is fetched or written.

    Raises:
        OptionError: an option is wrong.
        HubError: a model is not here and cannot be fetched.
        DataSetError, AudioError: a data set cannot be read.
    """
    is_article = arguments.preset == "article"
    settings = _settings(arguments)
    shapes = _names(arguments.random_shape)
    names = _names(arguments.model) or (() if shapes else (EMBEDDED,))
    for shape in shapes:
        if shape not in SHAPES:
            raise OptionError(f"No shape named {shape!r}. Known: {', '.join(SHAPES)}.")
    batches = _batches(arguments.batch) or (article.BATCHES if is_article else (1, 8))
    random = tuple(f"random {shape}" for shape in shapes)
    engines = _engines(arguments.engines) or (article.ENGINES if is_article else DEFAULT_ENGINES)
    grid = Grid(
        engines=engines,
        models=(*names, *random),
        devices=_names(arguments.device) or DEVICES[:1],
        dtypes=_names(arguments.dtype) or (article.DTYPES if is_article else ("float32",)),
        batches=batches,
        modes=_names(arguments.mode) or MODES,
    )
    workloads = _workloads(arguments, largest=max(batches), is_article=is_article)
    if settings.decoding.n_tokens is None and names and any(workload.has_texts for workload in workloads):
        score([("", "")], normalizer=settings.normalizer)  # a missing package must not cost measuring
    cache = cache_dir or default_cache_dir()
    models = {name: _checkpoint(name, cache_dir=cache_dir, offline=offline, revision=revision) for name in names}
    models |= {name: random_checkpoint(shape, cache_dir=cache) for name, shape in zip(random, shapes, strict=True)}
    return Benchmark(
        grid=_with_audio(grid, workloads),
        settings=settings,
        models=models,
        workloads={workload.name: workload for workload in workloads},
        cache_dir=cache.absolute(),
        random=frozenset(random),
    )


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        decoding=Decoding(n_beams=arguments.beam_size, n_tokens=_tokens(arguments)),
        repeats=arguments.repeats,
        threads=arguments.threads,
        interleave=arguments.interleave,
        cold=arguments.cold,
        timeout=arguments.timeout,
        normalizer=arguments.normalizer,
    )


def _tokens(arguments: argparse.Namespace) -> int | None:
    text = arguments.tokens
    if text is None:
        return None if arguments.random_shape is None else _N_RANDOM_TOKENS
    return None if text == "free" else _whole(text, "--tokens", "a whole number, or free")


def _workloads(arguments: argparse.Namespace, *, largest: int, is_article: bool) -> tuple[Workload, ...]:
    language = language_code(arguments.language)
    for name in ("seconds", "utterances", "limit"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise OptionError(f"--{name} is {value:g}, and has to be more than 0.")
    if arguments.data:
        if arguments.seconds is not None or arguments.utterances is not None:
            raise OptionError("--data brings its own recordings: leave --seconds and --utterances out.")
        return data_workloads(arguments.data, limit=arguments.limit, language=language)
    if arguments.limit is not None:
        raise OptionError("--limit counts the clips of data sets: name one with --data, or leave it out.")
    seconds, count = arguments.seconds, arguments.utterances
    if is_article:
        seconds, count = seconds or article.SECONDS, count or article.N_UTTERANCES
    elif seconds is None and count is None:
        seconds = 30.0 * max(_LEAST_WINDOWS, largest)
    long = () if seconds is None else (long_clip(seconds, language=language),)
    return long if count is None else (*long, utterances(count, language=language))


def _with_audio(grid: Grid, workloads: Sequence[Workload]) -> Grid:
    return replace(grid, audio=tuple(workload.name for workload in workloads))


def _checkpoint(name: str, **hub: Any) -> Path:
    if is_bundle(Path(name)):
        raise OptionError(f"{name} is compiled already. Name the checkpoint that it was made from: all need it.")
    return find_model(name, **hub).absolute()


def _engines(text: str | None) -> tuple[str, ...]:
    return DEFAULT_ENGINES if text == "all" else _names(text)


def _batches(text: str | None) -> tuple[int, ...]:
    expected = "whole numbers and none, separated by commas"
    return tuple(1 if name == "none" else _whole(name, "--batch", expected) for name in _names(text))


def _names(text: str | None) -> tuple[str, ...]:
    """The members of a list, each once; nothing for an option that was not given."""
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise OptionError(f"{text!r} has an empty place. Separate names by single commas.")
    return tuple(dict.fromkeys(names))


def _whole(text: str, option: str, expected: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise OptionError(f"{option} has {text!r}; expected {expected}.") from error
