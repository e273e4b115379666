"""What to do about tensors that Whisper has no use for."""

import logging
from collections.abc import Sequence
from pathlib import Path

from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.errors import CheckpointError

logger = logging.getLogger(__name__)


def report_unused(path: Path, names: Sequence[str]) -> None:
    """Log the names of tensors that are left out, such as another task's head.

    Raises:
        CheckpointError: one belongs to the encoder or the decoder, so that leaving it out would change the text.
    """
    for name in names:
        if name.startswith(("encoder.", "decoder.")):
            raise CheckpointError(
                f"{path} holds the tensor {quoted(name)}, which Whisper of these dims does not have. "
                "Merge adapters into the weights, or correct the number of layers in the configuration."
            )
    if names:
        logger.warning("%s: tensors that Whisper does not use are left out: %s", path, quoted(list(names)))
