"""Read a Whisper checkpoint, whatever its file format, as named float32 arrays."""

from stagewhisper.checkpoint.checkpoint import Checkpoint
from stagewhisper.checkpoint.dims import ModelDims
from stagewhisper.checkpoint.load import load_checkpoint

__all__ = ["Checkpoint", "ModelDims", "load_checkpoint"]
