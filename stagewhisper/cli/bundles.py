"""From what a user calls a model to its compiled form: the steps of `stagewhisper.load`, without an engine."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stagewhisper.bundle import Bundle

PRECISIONS = ("fp32", "fp16", "int8", "int4", "auto")
"""What `stagewhisper.model.PRECISIONS` says, without importing it."""


def find_bundle(
    name: str, *, revision: str | None, offline: bool, cache_dir: Path | None, precision: str | None = None
) -> "Bundle":
    """The bundle in the folder `name`, or that of the model or checkpoint called so; fetched and compiled if need be.

    Raises what `stagewhisper.load` raises.
    """
    from stagewhisper.bundle import is_bundle
    from stagewhisper.hub import find_model
    from stagewhisper.model import open_bundle

    path = Path(name)
    if not is_bundle(path):
        path = find_model(name, revision=revision, offline=offline, cache_dir=cache_dir)
    return open_bundle(path, precision=precision, cache_dir=cache_dir)
