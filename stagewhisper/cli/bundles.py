"""From what a user calls a model to its compiled form: the steps of `stagewhisper.load`, without an engine."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stagewhisper.bundle import Bundle


def find_bundle(name: str, *, revision: str | None, offline: bool, cache_dir: Path | None) -> "Bundle":
    """The bundle in the folder `name`, or that of the model or checkpoint called so; fetched and compiled if need be.

    Raises what `stagewhisper.load` raises.
    """
    from stagewhisper.bundle import is_bundle, read_bundle

    path = Path(name)
    if not is_bundle(path):
        from stagewhisper.hub import find_model

        path = find_model(name, revision=revision, offline=offline, cache_dir=cache_dir)
    if is_bundle(path):
        return read_bundle(path)
    from stagewhisper.checkpoint import load_checkpoint
    from stagewhisper.compiler import compiled

    return compiled(load_checkpoint(path), cache_dir=cache_dir)
