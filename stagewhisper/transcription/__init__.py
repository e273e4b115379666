"""A whole recording to a transcript."""

from stagewhisper.transcription.options import TranscribeOptions, TranscriptionOptions, transcription_options
from stagewhisper.transcription.sequential import Progress, sequential

__all__ = ["Progress", "TranscribeOptions", "TranscriptionOptions", "sequential", "transcription_options"]
