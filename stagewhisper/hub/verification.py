"""Compare files with the digests that the hub published, once: a stamp remembers what was found good.

The cache names a file's content by its digest, so no request is needed, and models that other programs
fetched are verified too. A stamp holds sizes and times of change; a file that differs is read again.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeGuard

from stagewhisper.atomic import writing_atomically

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Stamped:
    """A file as it was when its content equalled `digest` (None: nothing was known to compare with)."""

    size: int
    mtime_ns: int
    digest: str | None


@dataclass(frozen=True)
class Stamp:
    """What is known about a folder; `complete` tells that it holds all that the hub lists for it."""

    complete: bool = False
    files: Mapping[str, Stamped] = field(default_factory=dict)


def damaged_files(
    folder: Path, names: Iterable[str], *, digests: Mapping[str, str] | None = None, complete: bool = False
) -> tuple[str, ...]:
    """Those of `names` whose content is not what the hub published; the others are remembered as good.

    `digests` are the hub's own, where known: 64 hex digits of a SHA-256, or 40 of a git object id. Else
    they come from the names of the cache's blobs. `complete` is remembered if nothing is damaged.
    """
    old = read_stamp(folder)
    good = dict(old.files)
    damaged = []
    for name in names:
        path = folder / name
        digest = (digests or {}).get(name) or _digest_in_cache(path) or (good[name].digest if name in good else None)
        state = path.stat()
        seen = Stamped(state.st_size, state.st_mtime_ns, digest)
        if good.get(name) == seen:
            continue
        if digest is not None and _digest_of(path, len(digest)) != digest:
            damaged.append(name)
            good.pop(name, None)
        else:
            good[name] = seen
    stamp = Stamp(old.complete or (complete and not damaged), good)
    if stamp != old:
        _write_stamp(folder, stamp)
    return tuple(damaged)


def is_digest(text: object) -> TypeGuard[str]:
    """Whether this is a SHA-256 or a git object id in hex."""
    return isinstance(text, str) and len(text) in (40, 64) and _HEX.issuperset(text)


def read_stamp(folder: Path) -> Stamp:
    """What was remembered about this folder; an empty stamp if there is none or it cannot be understood."""
    try:
        content = json.loads(_stamp_path(folder).read_text("utf-8"))
        files = {str(name): Stamped(**entry) for name, entry in content["files"].items()}
        return Stamp(content["complete"] is True, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Stamp()


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Delete these files of a snapshot together with the blobs that they are links to."""
    for name in names:
        blob = _blob(folder / name)
        for path in (folder / name, blob):
            if path is not None:
                path.unlink(missing_ok=True)


def _blob(path: Path) -> Path | None:
    """The cache's blob that `path` links to; only one step, for a blob may itself link to a shared store."""
    if not path.is_symlink():
        return None
    target = path.parent / path.readlink()
    return target if target.parent.name == "blobs" else None


def _digest_in_cache(path: Path) -> str | None:
    blob = _blob(path)
    name = blob.name if blob is not None else ""
    return name if is_digest(name) else None


def _digest_of(path: Path, length: int) -> str:
    if length == 64:
        hasher = hashlib.sha256()
    else:  # a git object id is the SHA-1 of a header and the content; git's choice, not ours
        hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def _stamp_path(folder: Path) -> Path:
    # Not inside the model cache: that may be shared between users and read-only.
    key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return _stamp_folder() / f"{key}.json"


def _stamp_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("stagewhisper", appauthor=False) / "verified"


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    path = _stamp_path(folder)
    content = {
        "folder": str(folder),
        "complete": stamp.complete,
        "files": {n: asdict(f) for n, f in stamp.files.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_atomically(path) as file:
            json.dump(content, file)
    except OSError as error:  # costs only time: the files are read again at the next start
        _LOG.debug("Cannot remember that %s is verified: %s", folder, error)
