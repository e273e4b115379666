"""Whisper speech recognition, compiled for the machine at hand."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagewhisper.errors import StagewhisperError
    from stagewhisper.model import Model, SegmentStream, load, transcribe
    from stagewhisper.transcript import Segment, Transcript, Word

__version__ = "0.1.0"

__all__ = [
    "Model",
    "Segment",
    "SegmentStream",
    "StagewhisperError",
    "Transcript",
    "Word",
    "load",
    "transcribe",
]

_HOMES = {
    "Model": "stagewhisper.model",
    "Segment": "stagewhisper.transcript",
    "SegmentStream": "stagewhisper.model",
    "StagewhisperError": "stagewhisper.errors",
    "Transcript": "stagewhisper.transcript",
    "Word": "stagewhisper.transcript",
    "load": "stagewhisper.model",
    "transcribe": "stagewhisper.model",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import stagewhisper` loads no framework."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
