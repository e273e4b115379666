"""Turn a checkpoint into a bundle, once: the cache of compiled models."""

import hashlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from stagewhisper.atomic import writing_atomically
from stagewhisper.bundle import FORMAT_VERSION, Bundle, file_digest, read_bundle, writing_bundle
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.errors import BundleError, CheckpointError
from stagewhisper.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a half-built folder must belong to a process that died."""

_ONE_AT_A_TIME = threading.Lock()  # threads that want the same model wait for the first one's


def compiled(checkpoint: Checkpoint, *, cache_dir: Path | None = None) -> Bundle:
    """The bundle of `checkpoint` in the user's cache, compiled now if it is not there, is damaged or is outdated.

    Raises:
        BundleError: the cache cannot be written.
        CheckpointError: the checkpoint's files cannot be read any more.
    """
    cache_dir = cache_dir or default_cache_dir()
    digest = source_digest(checkpoint, cache_dir=cache_dir)
    path = cache_dir / "bundles" / f"{digest[:20]}-fp32-v{FORMAT_VERSION}"
    with _ONE_AT_A_TIME:
        return _read_or_compile(checkpoint, path, source=digest)


def _read_or_compile(checkpoint: Checkpoint, path: Path, *, source: str) -> Bundle:
    if path.exists():
        try:
            bundle = read_bundle(path)
            if bundle.source_digest == source:
                return bundle
            logger.warning("%s was compiled from another checkpoint. Compiling this one in its place.", path)
        except BundleError as error:
            logger.warning("A compiled model cannot be used, and is compiled again now. %s", error)
    started = time.monotonic()
    logger.info("Compiling %s for ONNX Runtime (once; kept in %s)", checkpoint.path.name, path.parent)
    _remove_abandoned(path.parent)
    bundle = compile_checkpoint(checkpoint, path, source=source)
    logger.info("Compiled in %.1f s", time.monotonic() - started)
    return bundle


def compile_checkpoint(checkpoint: Checkpoint, path: Path, *, source: str) -> Bundle:
    """Compile `checkpoint` into the folder `path`; `source` is the digest to be written into its manifest.

    Raises:
        BundleError: the folder cannot be written.
        TokenizerError: the checkpoint's vocabulary lacks what Whisper needs.
    """
    import onnx_ir as ir  # takes over a second to import, and a compiled model needs none of it

    from stagewhisper.compiler.export import export_decoder, export_encoder

    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)  # may fail, so before the long work
    bundle = Bundle(
        path=path,
        dims=checkpoint.dims,
        precision="fp32",
        source_digest=source,
        alignment_heads=checkpoint.alignment_heads,
    )
    with writing_bundle(bundle) as folder:
        for name, export in (("encoder", export_encoder), ("decoder", export_decoder)):
            ir.save(export(checkpoint), folder / f"{name}.onnx", external_data=f"{name}.weights")
        tokenizer.save(folder / "tokenizer.json")
    return read_bundle(path)


def default_cache_dir() -> Path:
    """The user's cache folder for this package."""
    return platformdirs.user_cache_path("stagewhisper", appauthor=False)


def source_digest(checkpoint: Checkpoint, *, cache_dir: Path) -> str:
    """SHA-256 over the names and contents of the checkpoint's files.

    Reading gigabytes costs seconds, so the digest is remembered under the files' paths, sizes and times.

    Raises:
        CheckpointError: a file has vanished or cannot be read.
    """
    try:
        note = cache_dir / "sources" / _state(checkpoint.files)
        remembered = _read_note(note)
        if remembered is not None:
            return remembered
        total = hashlib.sha256()
        for file in sorted(checkpoint.files):
            total.update(f"{file.name}\0{file_digest(file)}\n".encode())
    except OSError as error:
        raise CheckpointError(
            f"{checkpoint.path} cannot be read any more: {error}. Put it back, or name another model."
        ) from error
    _write_note(note, total.hexdigest())
    return total.hexdigest()


def _state(files: Sequence[Path]) -> str:
    """A name for these files as they are now, which costs no reading."""
    parts = []
    for file in sorted(files):
        status = file.stat()
        parts.append(f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _read_note(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None  # never written, or broken
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def _write_note(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_atomically(path) as file:
            file.write(text)
    except OSError as error:  # a cache that was filled elsewhere and is read-only here serves all the same
        logger.info("Each start will read the whole checkpoint: cannot write to %s (%s).", path.parent, error)


def _remove_abandoned(folder: Path) -> None:
    for leftover in folder.glob(".*-*"):
        try:
            is_old = time.time() - leftover.stat().st_mtime > ABANDONED_AFTER
        except OSError:
            continue  # its process has just finished
        if is_old:
            shutil.rmtree(leftover, ignore_errors=True)
