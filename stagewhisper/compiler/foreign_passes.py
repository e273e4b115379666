"""What a pass of another package is at present: its package's version, and a digest of its text.

    entry point my_passes.rounding:round_weights ─► all *.py of my_passes ─► SHA-256

Nothing of the package is imported, for a compiled model is found without its passes.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from stagewhisper.compiler.passes import PASSES


def identity_of(name: str) -> str | None:
    """Something that changes when the pass called `name` does; None for our own, and where there is none."""
    point = PASSES.third_party(name)
    if point is None:
        return None
    version = point.dist.version if point.dist is not None else ""
    return f"{point.value} {version} {text_digest(point.value.partition(':')[0].partition('.')[0])}"


@cache  # this process goes on with what it has imported
def text_digest(package: str) -> str:
    """SHA-256 of all Python text of the package or module of this name; of nothing where it cannot be found."""
    total = hashlib.sha256()
    for file, name in sorted(_files(package)):
        total.update(f"{name}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def _files(package: str) -> list[tuple[Path, str]]:
    """The files, and their names within the package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:
        return [(Path(spec.origin), "")] if spec.has_location and spec.origin else []
    return [(file, file.relative_to(folder).as_posix()) for folder in folders for file in folder.rglob("*.py")]
