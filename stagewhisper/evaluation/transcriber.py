"""What is evaluated, and what of a transcript an evaluation keeps."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Unpack, runtime_checkable

from stagewhisper.evaluation.items import Item
from stagewhisper.transcript import Transcript
from stagewhisper.transcription import TranscribeOptions


@runtime_checkable
class Transcriber(Protocol):
    """Whatever transcribes: `stagewhisper.Model`, or another system behind these two names."""

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
    start: float | None
    """Of the first segment with text; None when there is none."""
    end: float | None
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
    spoken = [segment for segment in transcript if segment.text.strip()]
    temperatures = {segment.seek: segment.temperature for segment in transcript}
    first = first_temperature(options)
    return Transcription(
        text=transcript.text,
        duration=transcript.duration,
        elapsed=elapsed,
        detected_language=None if transcript.language_probability is None else transcript.language,
        start=min((segment.start for segment in spoken), default=None),
        end=max((segment.end for segment in spoken), default=None),
        n_windows=len(temperatures),
        n_fallbacks=sum(temperature > first for temperature in temperatures.values()),
    )


def first_temperature(options: TranscribeOptions) -> float:
    """The temperature at which each window is tried first."""
    temperature = options.get("temperature", 0.0)
    return float(temperature if isinstance(temperature, int | float) else temperature[0])
