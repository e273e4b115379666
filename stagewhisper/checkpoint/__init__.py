"""Read a Whisper checkpoint, whatever its file format, as named float32 arrays."""

from stagewhisper.checkpoint.dims import ModelDims

__all__ = ["ModelDims"]
