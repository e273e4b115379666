"""Our own engines under our own decoding."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stagewhisper.arrays import Samples
from stagewhisper.benchmarking.driver import Decode, Loaded, foreign
from stagewhisper.benchmarking.programs import PRECISIONS, PROGRAMS
from stagewhisper.benchmarking.task import CannotError, Task
from stagewhisper.decoding import DecodingOptions, decode
from stagewhisper.engines import ENGINES
from stagewhisper.errors import EngineError, OptionError
from stagewhisper.mel import log_mel
from stagewhisper.model import Model
from stagewhisper.model import load as load_model


def prepare(task: Task) -> None:
    """Import the engine with its framework."""
    for package in PROGRAMS[task.engine].needs:
        foreign(package)
    ENGINES.get(task.engine)


def load(task: Task) -> Loaded:
    """The engine with the checkpoint, or with the bundle that was compiled of it.

    Raises:
        CannotError: the engine refuses the device or the precision.
    """
    try:
        return _load(task)
    except (EngineError, OptionError) as error:
        raise CannotError(str(error)) from error


def _load(task: Task) -> Loaded:
    cache = None if task.cache_dir is None else Path(task.cache_dir)
    is_compiled = PROGRAMS[task.engine].form == "bundle"  # and has its precision
    started = time.perf_counter()
    model = load_model(
        Path(task.model),
        engine=task.engine,
        device=task.device,
        precision=None if is_compiled else PRECISIONS[task.dtype],
        threads=task.threads,
        offline=True,
        cache_dir=cache,
    )
    return Loaded(_decoder(model, task), load=time.perf_counter() - started)


def _decoder(model: Model, task: Task) -> Decode:
    how = task.decoding

    def decode_windows(windows: Sequence[Samples], /, *, language: str) -> list[list[int]]:
        mel = np.stack([log_mel(samples, n_mels=model.dims.n_mels) for samples in windows])
        options = DecodingOptions(
            language=language,
            sample_len=how.n_tokens,
            beam_size=how.n_beams if how.n_beams > 1 else None,
            without_timestamps=True,
            suppress_tokens=task.suppressed or None,
            suppress_blank=False,
        )
        features = model.engine.encode(mel)
        found = decode(model.engine, features, tokenizer=model.tokenizer, options=options, n_audio=len(windows))
        return [list(result.tokens) for result in found]

    return decode_windows
