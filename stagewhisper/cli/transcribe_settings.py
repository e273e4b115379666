"""What the parsed options of `transcribe` and `evaluate` mean to the library."""

import argparse
import logging
from typing import Any

from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.temperatures import fallback_temperatures
from stagewhisper.errors import OptionError
from stagewhisper.languages import language_code
from stagewhisper.writers import BUILT_IN_FORMATS, WRITERS

logger = logging.getLogger(__name__)

_PASSED_ON = (
    "task",
    "language",
    "initial_prompt",
    "carry_initial_prompt",
    "prefix",
    "condition_on_previous_text",
    "clip_timestamps",
    "without_timestamps",
    "best_of",
    "beam_size",
    "patience",
    "length_penalty",
    "suppress_tokens",
    "seed",
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
)
_NEED_WORDS = (
    "word_timestamps",
    "highlight_words",
    "max_line_width",
    "max_line_count",
    "max_words_per_line",
    "hallucination_silence_threshold",
)


def decoding_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `Model.segments`, already checked: a wrong one must not cost loading a model.

    A command need not have all of them.

    Raises:
        OptionError: a value is impossible, or asks for words.
    """
    from stagewhisper.transcription import transcription_options

    _refuse_words(arguments)
    options = {name: getattr(arguments, name) for name in _PASSED_ON if hasattr(arguments, name)}
    options["temperature"] = fallback_temperatures(arguments.temperature, arguments.temperature_increment_on_fallback)
    transcription_options(options)  # type: ignore[arg-type]  # the names are the TypedDict's, and checked there
    return options


def in_models_language(options: dict[str, Any], model: str, *, is_multilingual: bool) -> dict[str, Any]:
    """`options` with English for a language that the model called `model` does not know, and a warning.

    As openai/whisper does, so that one script can be used with models of both kinds.
    """
    language = options["language"]
    if language is None or is_multilingual or language_code(language) == "en":
        return options
    logger.warning("%s knows English only: --language %s is ignored.", model, language)
    return {**options, "language": "en"}


def load_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `load`.

    Raises:
        OptionError: two options contradict each other, or the number of threads is impossible.
    """
    return {
        "engine": arguments.engine,
        "device": arguments.device,
        "precision": _precision(arguments.precision, fp16=arguments.fp16, option="--precision"),
        "threads": _threads(arguments.threads),
        "encoder_engine": arguments.encoder_engine,
        "encoder_device": arguments.encoder_device,
        "encoder_precision": _encoder_precision(arguments),
        **hub_options(arguments),
    }


def output_formats(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The formats to write: none, unless a folder or a format was asked for.

    Raises:
        OptionError: a writer lacks a package that it needs; better known now than after an hour of decoding.
    """
    formats: tuple[str, ...] | None = arguments.output_format
    if formats is None:
        formats = () if arguments.output_dir is None else BUILT_IN_FORMATS
    for name in formats:
        WRITERS.get(name)
    return formats


def _refuse_words(arguments: argparse.Namespace) -> None:
    for name in _NEED_WORDS:
        value = getattr(arguments, name, None)
        if value is not None and value is not False:
            raise OptionError(
                f"--{name.replace('_', '-')} {value} needs word timestamps, which this version does not have yet. "
                "Leave the option out."
            )


def _encoder_precision(arguments: argparse.Namespace) -> str | None:
    """None leaves it to an engine of the encoder's own, or takes the decoder's."""
    if arguments.encoder_engine is None and arguments.encoder_precision is None:
        return None
    return _precision(arguments.encoder_precision, fp16=arguments.fp16, option="--encoder-precision")


def _precision(precision: str | None, *, fp16: bool | None, option: str) -> str | None:
    if fp16 is not False:
        return precision
    if precision not in (None, "fp32"):
        raise OptionError(f"--fp16 False asks for fp32 and {option} for {precision}: leave one of them out.")
    return "fp32"


def _threads(threads: int | None) -> int | None:
    """As many as wanted; None leaves the choice to the engine."""
    if threads is not None and threads < 0:
        raise OptionError(f"--threads is {threads}, and has to be 1 or more, or 0 for all physical cores.")
    return threads or None
