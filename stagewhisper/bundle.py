"""A compiled model on disk: graphs, weights, vocabulary, and a manifest that tells what they are.

    manifest.json     format version, dims, precision, recipe, source digest, size and SHA-256 of every file below
    encoder.onnx      graph        encoder.weights   its weights, mapped into memory by ONNX Runtime
    decoder.onnx      graph        decoder.weights
    tokenizer.json    vocabulary
    report.json       the recipe, and what each of its passes did
    verified.json     sizes and times of the files when their digests were last checked; not part of the bundle

A bundle is written beside its place and renamed into it, so a reader never sees half of one.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stagewhisper.atomic import writing_atomically
from stagewhisper.checkpoint import ModelDims
from stagewhisper.errors import BundleError, CheckpointError
from stagewhisper.file_lock import holding, is_held

FORMAT_VERSION = 2
"""Raised whenever the graphs or the manifest change, so that older bundles are built anew."""

MANIFEST, STAMP = "manifest.json", "verified.json"
HELD = ".stagewhisper-building"
"""A file in the folder of a bundle that is being made; the process that makes it holds it."""

FILES = ("encoder.onnx", "encoder.weights", "decoder.onnx", "decoder.weights", "tokenizer.json", "report.json")
_TAKES_AT_MOST = 2.0  # seconds from making the file to holding it
_LONGEST_SHARE = 50  # characters, of up to four bytes, of 255 bytes that a name may have
_ORIGIN = ("target", "recipe", "recipe_digest", "compiler")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    path: Path
    dims: ModelDims
    precision: str
    source_digest: str
    """SHA-256 over the checkpoint's files."""
    alignment_heads: tuple[tuple[int, int], ...] | None = None
    """(layer, head) pairs whose cross-attention follows the audio; None when the checkpoint names none."""
    target: str = "cpu"
    """What it was compiled for: "cpu" or "gpu"."""
    recipe: str = ""
    """Name of the recipe; empty where graphs were not made by one."""
    recipe_digest: str = ""
    """SHA-256 of what decides about the graphs: the recipe's passes, without those that were switched off."""
    compiler: str = ""
    """Which passes these were: their version, and a digest of their text."""

    @property
    def encoder(self) -> Path:
        """The encoder's graph."""
        return self.path / "encoder.onnx"

    @property
    def decoder(self) -> Path:
        """The decoder's graph."""
        return self.path / "decoder.onnx"

    @property
    def tokenizer(self) -> Path:
        """The vocabulary."""
        return self.path / "tokenizer.json"

    @property
    def report(self) -> Path:
        """What each pass did."""
        return self.path / "report.json"


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder with a manifest of ours, whatever its condition."""
    try:
        return (path / MANIFEST).is_file()
    except OSError:  # longer than the file system allows, or in a folder that we may not enter
        return False


def read_bundle(path: Path) -> Bundle:
    """The bundle in the folder `path`, after checking that it is whole.

    Digests are computed only when a file's size or time has changed since they last matched.

    Raises:
        BundleError: a file is missing or damaged, or another version wrote the bundle.
    """
    manifest = _read_manifest(path)
    try:
        bundle = Bundle(
            path=path,
            dims=ModelDims.from_dict(manifest["dims"]),
            precision=str(manifest["precision"]),
            source_digest=str(manifest["source_digest"]),
            alignment_heads=_pairs(manifest["alignment_heads"]),
            **{name: str(manifest[name]) for name in _ORIGIN},
        )
        expected = {
            name: (int(manifest["files"][name]["size"]), str(manifest["files"][name]["sha256"])) for name in FILES
        }
    except (KeyError, TypeError, ValueError, OverflowError, CheckpointError) as error:
        raise BundleError(f"The manifest of the bundle {path} is damaged ({error}). Compile it again.") from error
    _verify_files(path, expected)
    return bundle


def check_place(path: Path) -> None:
    """Raise now what would cost the work later: whether a bundle can be put at `path`. Nothing is left there.

    Raises:
        BundleError: `path` cannot be a folder's name, or nothing can be written beside it.
    """
    try:
        if os.path.ismount(path) or Path.cwd().is_relative_to(os.path.realpath(path)):
            raise OSError(errno.EBUSY, "it is mounted there, or the folder that you are in")
        folder = _nearest(path)
        with tempfile.TemporaryDirectory(prefix=_beside(path), dir=folder) as trial:
            Path(trial).joinpath(*path.parts[len(folder.parts) :]).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _nearest(path: Path) -> Path:
    """The first folder above `path` that is there."""
    for folder in path.parents:
        try:
            folder.stat()
        except FileNotFoundError:
            continue
        return folder
    return Path(path.anchor)


@contextmanager
def writing_bundle(bundle: Bundle) -> Iterator[Path]:
    """A new folder to put the files of `bundle` into; on leaving, it becomes `bundle.path`, whole or not at all.

    What stands there already is replaced, unless it is the same bundle and whole: then another process was first,
    and its users may be about to open it.

    Raises:
        BundleError: the folder cannot be written.
    """
    try:
        bundle.path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=_beside(bundle.path), dir=bundle.path.parent))
    except OSError as error:
        raise _unwritable(bundle.path, error) from error
    try:
        with holding(building / HELD):  # whoever finds the folder knows by this that its process lives
            yield building
            _write_manifest(building, bundle)
            with contextlib.suppress(PermissionError):  # Windows: not as long as it is open
                (building / HELD).unlink(missing_ok=True)
        (building / HELD).unlink(missing_ok=True)
        _put_in_place(building, bundle)
    except OSError as error:
        raise _unwritable(bundle.path, error) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def remove_abandoned(path: Path) -> None:
    """Delete what processes that were killed have left of bundles at `path`; nothing of those that live."""
    with contextlib.suppress(OSError):
        for leftover in path.parent.glob(f"{glob.escape(_beside(path))}*"):
            if is_abandoned(leftover):
                shutil.rmtree(leftover, ignore_errors=True)


def is_abandoned(building: Path) -> bool | None:
    """Whether the process that made a bundle in this folder is dead; None where nobody can tell.

    Raises:
        OSError: the folder has just gone.
    """
    held = is_held(building / HELD)
    if held is None:
        return None
    return not held and time.time() - (building / HELD).stat().st_mtime > _TAKES_AT_MOST


def _beside(path: Path) -> str:
    """How names of folders begin that are there while a bundle is made: no name grows too long by this."""
    return f".{path.name[:_LONGEST_SHARE]}-"


def _unwritable(path: Path, error: OSError) -> BundleError:
    is_full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))  # the latter is unknown to Windows
    remedy = "Free some space there, or name" if is_full else "Name"
    return BundleError(
        f"Cannot write the compiled model to {path}: {error.strerror or error}. {remedy} another place for it."
    )


def _write_manifest(folder: Path, bundle: Bundle) -> None:
    manifest = {
        "format_version": FORMAT_VERSION,
        "dims": asdict(bundle.dims),
        "precision": bundle.precision,
        "source_digest": bundle.source_digest,
        "alignment_heads": bundle.alignment_heads,
        **{name: getattr(bundle, name) for name in _ORIGIN},
        "files": {
            name: {"size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)} for name in FILES
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _write_stamp(folder)


def _put_in_place(building: Path, bundle: Bundle) -> None:
    building.chmod(0o755)  # mkdtemp made it private
    for _ in range(10):
        try:
            building.rename(bundle.path)
        except OSError:
            if not os.path.lexists(bundle.path):  # a link to nowhere is in the way too
                raise
            if _stands(bundle):
                return
            _remove(bundle.path)
        else:
            return
    raise BundleError(f"Other processes keep replacing {bundle.path}. Stop them, or name another place for it.")


def _stands(bundle: Bundle) -> bool:
    """Whether just this bundle is in its place, and whole."""
    try:
        return read_bundle(bundle.path) == bundle
    except BundleError:
        return False


def _remove(path: Path) -> None:
    """Rename the folder away and delete it then, so that nobody sees half of it."""
    aside = Path(tempfile.mkdtemp(prefix=_beside(path), dir=path.parent))
    try:
        path.rename(aside / "old")
    except FileNotFoundError:
        pass  # another process moved it first
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{path} is not a compiled model: it has no {MANIFEST}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"The manifest of the bundle {path} is damaged ({error}). Compile it again.") from error
    if not isinstance(manifest, dict):
        manifest = {}
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"The bundle {path} has format version {version}; this release reads {FORMAT_VERSION}. Compile it again."
        )
    return dict(manifest)


def _verify_files(path: Path, expected: dict[str, tuple[int, str]]) -> None:
    stamp = _read_stamp(path)
    changed = False
    for name, (size, digest) in expected.items():
        try:
            found = _signature(path / name)
            if found[0] != size:
                raise BundleError(f"{path / name} has {found[0]} bytes instead of {size}. Compile the bundle again.")
            if stamp.get(name) != found:
                changed = True
                if file_digest(path / name) != digest:
                    raise BundleError(
                        f"{path / name} does not match its SHA-256 in the manifest. Compile the bundle again."
                    )
        except OSError as error:
            raise BundleError(
                f"Cannot read {path / name}: {error.strerror or error}. Compile the bundle again."
            ) from error
    if changed:
        _write_stamp(path)


def _signature(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        stamp: Any = json.loads((path / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # no stamp, or a broken one: the digests are checked
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(path: Path) -> None:
    """Remember that all digests match; a folder that cannot be written is only slower to open."""
    try:
        with writing_atomically(path / STAMP) as file:
            json.dump({name: _signature(path / name) for name in FILES}, file)
    except OSError:
        return


def _pairs(value: Any) -> tuple[tuple[int, int], ...] | None:
    return None if value is None else tuple((int(layer), int(head)) for layer, head in value)
