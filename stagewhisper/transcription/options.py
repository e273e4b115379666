"""Options of a whole transcription, with openai/whisper's names."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from stagewhisper.decoding import DecodingOptions, Thresholds
from stagewhisper.errors import OptionError
from stagewhisper.languages import language_code
from stagewhisper.transcription.option_types import with_checked_types

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class TranscribeOptions(TypedDict, total=False):
    """Keyword options of `transcribe`; those not described here are `DecodingOptions`'."""

    temperature: float | Sequence[float]
    """One temperature, or several to be tried in turn while a result looks wrong."""
    compression_ratio_threshold: float | None
    logprob_threshold: float | None
    no_speech_threshold: float | None
    condition_on_previous_text: bool
    """Give each window the text before it as a prompt."""
    initial_prompt: str | None
    """Text that stands before the first window: names, spelling, style."""
    carry_initial_prompt: bool
    """Put `initial_prompt` before every window's prompt, not only the first's."""
    clip_timestamps: str | Sequence[float]
    """start,end,start,end,… in seconds; the last end may be left out and is then the recording's."""
    task: str
    language: str | None
    sample_len: int | None
    best_of: int | None
    beam_size: int | None
    patience: float | None
    length_penalty: float | None
    prefix: str | Sequence[int] | None
    suppress_tokens: str | Sequence[int] | None
    suppress_blank: bool
    without_timestamps: bool
    max_initial_timestamp: float | None
    seed: int
    verbose: bool | None
    """Accepted so that openai/whisper's calls work; the library never prints."""
    fp16: bool
    """Accepted likewise; the precision is chosen by `load`."""
    word_timestamps: bool
    """Word timestamps are still to come: only False is accepted, and of the options below only what changes nothing."""
    prepend_punctuations: str
    append_punctuations: str
    hallucination_silence_threshold: float | None


@dataclass(frozen=True)
class TranscriptionOptions:
    """Checked options of one transcription."""

    attempts: tuple[DecodingOptions, ...]
    """How a window is decoded: first so, and while its result looks wrong, with the next ones."""
    language: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    condition_on_previous_text: bool = True
    initial_prompt: str | None = None
    carry_initial_prompt: bool = False
    clip_timestamps: tuple[float, ...] = (0.0,)

    def in_language(self, language: str) -> "TranscriptionOptions":
        """The same options with the language settled."""
        attempts = tuple(replace(attempt, language=language) for attempt in self.attempts)
        return replace(self, attempts=attempts, language=language)


def transcription_options(options: TranscribeOptions) -> TranscriptionOptions:
    """`options` checked and sorted by who reads them.

    `best_of` and `beam_size` may both be given: each counts at its own temperatures.

    Raises:
        OptionError: a name is unknown, or a value is of the wrong type or impossible.
    """
    _refuse_unknown(options)
    given = _without_idle(with_checked_types(options, TranscribeOptions))
    temperatures = parse_temperatures(given.pop("temperature", TEMPERATURES))
    thresholds = Thresholds(**{name: given.pop(name) for name in _THRESHOLDS if name in given})
    own = {name: given.pop(name) for name in _OWN if name in given}
    own["clip_timestamps"] = parse_clip_timestamps(own.get("clip_timestamps", "0"))
    if given.get("language") is not None:
        given["language"] = language_code(given["language"])
    attempts = tuple(_at_temperature(temperature, given) for temperature in temperatures)
    return TranscriptionOptions(attempts, language=given.get("language"), thresholds=thresholds, **own)


def parse_temperatures(temperature: float | Sequence[float]) -> tuple[float, ...]:
    """The temperatures to try, from one number or several."""
    temperatures = (temperature,) if isinstance(temperature, (int, float)) else tuple(temperature)
    if not temperatures:
        raise OptionError("temperature is an empty sequence; give at least one number.")
    return temperatures


def parse_clip_timestamps(timestamps: str | Sequence[float]) -> tuple[float, ...]:
    """Times in seconds, from "0,10.5,20" or from a sequence."""
    pieces = (timestamps.split(",") if timestamps else []) if isinstance(timestamps, str) else timestamps
    try:
        times = tuple(float(piece) for piece in pieces)
    except ValueError as error:
        raise OptionError(f"clip_timestamps is {timestamps!r}; give seconds with commas: start,end,…") from error
    if not all(math.isfinite(time) and time >= 0 for time in times):
        raise OptionError(f"clip_timestamps is {timestamps!r}; times must be finite and not negative.")
    for start, end in zip(times[::2], times[1::2], strict=False):
        if end <= start:
            raise OptionError(f"clip_timestamps has a clip from {start} to {end} s; a clip must end after its start.")
    return times


_THRESHOLDS = ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold")
_NEED_WORDS = ("word_timestamps", "hallucination_silence_threshold")
_IDLE = ("verbose", "fp16", "prepend_punctuations", "append_punctuations")
_OWN = ("condition_on_previous_text", "initial_prompt", "carry_initial_prompt", "clip_timestamps")


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    known = TranscribeOptions.__annotations__
    useful = sorted({*known} - {*_IDLE, *_NEED_WORDS})
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, useful, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(useful)}."
            raise OptionError(f"No transcription option named {name!r}. {hint}")


def _without_idle(given: dict[str, Any]) -> dict[str, Any]:
    """`given` without the options that are accepted but change nothing."""
    for name in _NEED_WORDS:
        if given.get(name):
            raise OptionError(f"{name} needs word timestamps, which this version does not have yet. Leave it out.")
    return {name: value for name, value in given.items() if name not in (*_IDLE, *_NEED_WORDS)}


def _at_temperature(temperature: float, given: dict[str, Any]) -> DecodingOptions:
    """Options of one attempt, without those that make no sense at its temperature."""
    idle = ("beam_size", "patience") if temperature > 0 else ("best_of",)
    return DecodingOptions(
        temperature=temperature, **{name: value for name, value in given.items() if name not in idle}
    )
