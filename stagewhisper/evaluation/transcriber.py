"""What is evaluated, and what of a transcript an evaluation keeps."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Unpack, runtime_checkable

from stagewhisper.evaluation.items import Item
from stagewhisper.evaluation.speech_times import speech_times
from stagewhisper.transcript import Transcript
from stagewhisper.transcription import TranscribeOptions


@runtime_checkable
class Transcriber(Protocol):
    """Whatever transcribes: `stagewhisper.Model`, or another system behind these two names.

    One that has a `tokenizer` with a `timestamp_begin`, the id of <|0.00|> in the tokens of its segments, has its times
    judged by the timestamps among them; any other by the segments' `start` and `end`.
    """

    @property
    def is_multilingual(self) -> bool:
        """Whether it knows languages besides English."""
        ...

    def transcribe(self, audio: Path | bytes, **options: Unpack[TranscribeOptions]) -> Transcript:
        """The transcript of a file, or of the bytes of one."""
        ...


@dataclass(frozen=True)
class Transcription:
    """One clip's transcript, cut down to what is measured. The journal holds it as JSON."""

    text: str
    duration: float
    elapsed: float
    detected_language: str | None
    speech_start: float | None
    """By the timestamps that the model wrote; None when there is no text."""
    speech_end: float | None
    n_windows: int
    n_fallbacks: int

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def transcribe_item(model: Transcriber, item: Item, options: TranscribeOptions) -> Transcription:
    """The transcription of the item's recording, timed from reading it to the last word.

    A window counts as a fallback when its text was not decoded at the first temperature; windows without text leave no
    trace in a transcript.
    """
    started = time.perf_counter()
    transcript = model.transcribe(item.source.read(), **options)
    elapsed = time.perf_counter() - started
    start, end = speech_times(transcript, timestamp_begin=_timestamp_begin(model)) or (None, None)
    temperatures = {segment.seek: segment.temperature for segment in transcript}
    first = first_temperature(options)
    return Transcription(
        text=transcript.text,
        duration=transcript.duration,
        elapsed=elapsed,
        detected_language=None if transcript.language_probability is None else transcript.language,
        speech_start=start,
        speech_end=end,
        n_windows=len(temperatures),
        n_fallbacks=sum(temperature > first for temperature in temperatures.values()),
    )


def _timestamp_begin(model: Transcriber) -> int | None:
    begin = getattr(getattr(model, "tokenizer", None), "timestamp_begin", None)
    return begin if isinstance(begin, int) else None


def first_temperature(options: TranscribeOptions) -> float:
    """The temperature at which each window is tried first."""
    temperature = options.get("temperature", 0.0)
    return float(temperature if isinstance(temperature, int | float) else temperature[0])
