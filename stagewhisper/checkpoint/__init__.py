"""Read a Whisper checkpoint, whatever its file format, as named float32 arrays."""

from stagewhisper.checkpoint.checkpoint import Checkpoint
from stagewhisper.checkpoint.dims import LAYER_NORM_EPSILON, ModelDims
from stagewhisper.checkpoint.load import load_checkpoint

__all__ = ["LAYER_NORM_EPSILON", "Checkpoint", "ModelDims", "load_checkpoint"]
