"""Turn a checkpoint into a bundle, once: the cache of compiled models."""

import hashlib
import logging
import shutil
import time
from pathlib import Path

import platformdirs

from stagewhisper.atomic import writing_atomically
from stagewhisper.bundle import FORMAT_VERSION, Bundle, file_digest, read_bundle, writing_bundle
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.errors import BundleError
from stagewhisper.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a half-built folder must belong to a process that died."""


def compiled(checkpoint: Checkpoint, *, cache_dir: Path | None = None) -> Bundle:
    """The bundle of `checkpoint` in the user's cache, compiled now if it is not there, is damaged or is outdated.

    Raises:
        BundleError: the cache cannot be written.
    """
    cache_dir = cache_dir or default_cache_dir()
    digest = source_digest(checkpoint, cache_dir=cache_dir)
    path = cache_dir / "bundles" / f"{digest[:20]}-fp32-v{FORMAT_VERSION}"
    if path.exists():
        try:
            return read_bundle(path)
        except BundleError as error:
            logger.warning("%s Compiling it again now.", error)
    started = time.monotonic()
    logger.info("Compiling %s for ONNX Runtime (once; kept in %s)", checkpoint.path.name, path.parent)
    _remove_abandoned(path.parent)
    bundle = compile_checkpoint(checkpoint, path, source=digest)
    logger.info("Compiled in %.1f s", time.monotonic() - started)
    return bundle


def compile_checkpoint(checkpoint: Checkpoint, path: Path, *, source: str) -> Bundle:
    """Compile `checkpoint` into the folder `path`; `source` is the digest to be written into its manifest.

    Raises:
        BundleError: the folder cannot be written.
    """
    import onnx_ir as ir  # takes over a second to import, and a compiled model needs none of it

    from stagewhisper.compiler.export import export_decoder, export_encoder

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
        load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file).save(folder / "tokenizer.json")
    return read_bundle(path)


def default_cache_dir() -> Path:
    """The user's cache folder for this package."""
    return platformdirs.user_cache_path("stagewhisper", appauthor=False)


def source_digest(checkpoint: Checkpoint, *, cache_dir: Path) -> str:
    """SHA-256 over the names and contents of the checkpoint's files.

    Reading gigabytes costs seconds, so the digest is remembered under the files' paths, sizes and times.
    """
    parts = []
    for file in sorted(checkpoint.files):
        status = file.stat()
        parts.append(f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}")
    remembered = cache_dir / "sources" / hashlib.sha256("\n".join(parts).encode()).hexdigest()
    try:
        text = remembered.read_text(encoding="ascii").strip()
        if len(text) == 64:
            return text
    except (OSError, UnicodeDecodeError):
        pass  # never computed, or the note is broken: compute it
    total = hashlib.sha256()
    for file in sorted(checkpoint.files):
        total.update(f"{file.name}\0{file_digest(file)}\n".encode())
    _remember(remembered, total.hexdigest())
    return total.hexdigest()


def _remember(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_atomically(path) as file:
            file.write(text)
    except OSError as error:
        raise BundleError(
            f"Cannot write the cache folder {path.parent}: {error.strerror or error}. "
            f"Free some space there or name another cache folder."
        ) from error


def _remove_abandoned(folder: Path) -> None:
    for leftover in folder.glob(".*-*"):
        if leftover.is_dir() and time.time() - leftover.stat().st_mtime > ABANDONED_AFTER:
            shutil.rmtree(leftover, ignore_errors=True)
