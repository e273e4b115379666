"""Turn a checkpoint into a bundle, once: the cache of compiled models."""

import hashlib
import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from stagewhisper import __version__
from stagewhisper.atomic import writing_atomically
from stagewhisper.bundle import (
    FORMAT_VERSION,
    Bundle,
    file_digest,
    is_abandoned,
    read_bundle,
    remove_abandoned,
    writing_bundle,
)
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.compiled_report import CompiledReport, read_report
from stagewhisper.compiler.recipe import Recipe, load_recipe
from stagewhisper.errors import BundleError, CheckpointError, OptionError
from stagewhisper.file_lock import holding
from stagewhisper.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)

DEFAULT_RECIPE = "exact"

CHECKS = ("each", "end", "off")  # the strictest first
"""When numbers are compared with those before the passes: after each of them, at the end, or not at all."""

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a half-built folder must belong to a process that died, where no lock tells."""

_ONE_AT_A_TIME = threading.Lock()  # threads that want the same model wait for the first one's


def compiled(
    checkpoint: Checkpoint,
    *,
    recipe: Recipe | None = None,
    disabled: Collection[str] = (),
    check: str = "off",
    timed: bool = False,
    cache_dir: Path | None = None,
) -> Bundle:
    """The bundle of `checkpoint` in the user's cache, compiled now if it is not there, is damaged or is outdated.

    The recipe is `exact` unless another is given; `disabled` names passes of it to be left out, and `check` is when
    the bundle's numbers are compared with the checkpoint's: one that was compared less is compiled again.
    With `timed`, graphs are also measured before and after the passes.

    Raises:
        BundleError: the cache cannot be written.
        CheckpointError: the checkpoint's files cannot be read any more.
        OptionError: the recipe cannot be carried out.
        CompilerError: a pass failed, or broke its graph or its numbers.
    """
    options: dict[str, Any] = {"disabled": disabled, "check": check, "timed": timed, "cache_dir": cache_dir}
    return found_or_compiled(checkpoint, recipe=recipe, **options)[0]


def found_or_compiled(
    checkpoint: Checkpoint,
    *,
    recipe: Recipe | None = None,
    disabled: Collection[str] = (),
    check: str = "off",
    timed: bool = False,
    cache_dir: Path | None = None,
) -> tuple[Bundle, bool]:
    """What `compiled` gives, and whether it was in the cache."""
    cache_dir = cache_dir or default_cache_dir()
    recipe = recipe or load_recipe(DEFAULT_RECIPE)
    source = source_digest(checkpoint, cache_dir=cache_dir)
    wanted = _bundle(checkpoint, Path(), source=source, recipe=recipe, disabled=disabled)
    name = _folder_name(wanted, recipe.digest_without(disabled, contents=False))
    wanted = replace(wanted, path=cache_dir / "bundles" / name)
    with _ONE_AT_A_TIME:
        found = _checked(_read(wanted), check, timed=timed)
        if found is not None:
            return found, True
        with holding(cache_dir / "locks" / name, on_wait=_tell_of_waiting) as waited:
            found = _checked(_read(wanted), check, timed=timed) if waited else None
            if found is not None:
                return found, True
            return _compile(checkpoint, wanted, recipe=recipe, disabled=disabled, check=check, timed=timed), False


def _tell_of_waiting() -> None:
    logger.info("Another process is compiling this model: waiting for it.")


def _checked(bundle: Bundle | None, check: str, *, timed: bool) -> Bundle | None:
    """The bundle, if its numbers were compared as often as `check` asks for, and its graphs measured if need be."""
    if bundle is None or _is_checked(bundle, check, timed=timed):
        return bundle
    logger.info("%s was compared less than --check %s asks for, or not measured.", bundle.path, check)
    return None


def _is_checked(bundle: Bundle, check: str, *, timed: bool) -> bool:
    if check == "off" and not timed:
        return True
    try:
        report = read_report(bundle)
        is_timed = all(graph.ms_before for graph in report.graphs.values())
        return CHECKS.index(report.check) <= CHECKS.index(check) and (is_timed or not timed)
    except ValueError:
        return False  # another word than ours, or the caller's: compiling refuses that one
    except BundleError as error:
        logger.warning("%s", error)
        return False


def _read(wanted: Bundle) -> Bundle | None:
    """The bundle in its place, if it is whole and what is wanted."""
    if not wanted.path.exists():
        return None
    try:
        found = read_bundle(wanted.path)
    except BundleError as error:
        logger.warning("A compiled model cannot be used, and is compiled again now. %s", error)
        return None
    if found.source_digest != wanted.source_digest:
        logger.warning("%s was compiled from something else. Compiling this model in its place.", wanted.path)
        return None
    if found.recipe_digest != wanted.recipe_digest:  # by the folder's name, the recipe says the same as it did
        logger.info(
            "Other packages' passes, or files that the recipe names, have changed since %s was made.", found.path
        )
        return None
    if found.compiler != wanted.compiler:
        logger.info("The compiler has changed since %s was made.", wanted.path)
        return None
    return found


def _compile(
    checkpoint: Checkpoint, wanted: Bundle, *, recipe: Recipe, disabled: Collection[str], check: str, timed: bool
) -> Bundle:
    started = time.monotonic()
    folder = wanted.path.parent
    logger.info("Compiling %s for ONNX Runtime (once; kept in %s)", checkpoint.path.name, folder)
    _remove_abandoned(folder)
    options: dict[str, Any] = {"recipe": recipe, "disabled": disabled, "check": check, "timed": timed}
    report = compile_checkpoint(checkpoint, wanted.path, source=wanted.source_digest, **options)
    logger.info("Compiled in %.1f s", time.monotonic() - started)
    return report.bundle


def compile_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    *,
    source: str,
    recipe: Recipe | None = None,
    disabled: Collection[str] = (),
    check: str = "end",
    timed: bool = False,
) -> CompiledReport:
    """Compile `checkpoint` into the folder `path`; `source` is the digest to be written into its manifest.

    With `timed`, what is compared is measured, too: five runs of each case, of which the fastest counts.

    Raises:
        BundleError: the folder cannot be written.
        TokenizerError: the checkpoint's vocabulary lacks what Whisper needs.
        OptionError: the recipe cannot be carried out.
        CompilerError: a pass failed, or broke its graph or its numbers.
    """
    # These import onnx_ir, which takes over a second, and a compiled model needs none of it.
    from stagewhisper.compiler.compile_graphs import Comparison, compile_graphs

    if check not in CHECKS:
        raise OptionError(f"check is {check!r}. Known: {', '.join(CHECKS)}.")
    if timed and check == "off":
        raise OptionError(
            "Graphs are measured where they are compared. Leave out --time, or choose --check end or each."
        )
    started = time.monotonic()
    recipe = recipe or load_recipe(DEFAULT_RECIPE)
    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)  # may fail, so before the long work
    bundle = _bundle(checkpoint, path, source=source, recipe=recipe, disabled=disabled)
    remove_abandoned(path)
    with writing_bundle(bundle) as folder:
        with tempfile.TemporaryDirectory(prefix="compared-", dir=folder) as scratch:
            compared = Comparison(tokenizer, Path(scratch), each=check == "each", timed=timed)
            comparison = None if check == "off" else compared
            reports = compile_graphs(checkpoint, recipe, folder=folder, disabled=disabled, comparison=comparison)
        tokenizer.save(folder / "tokenizer.json")
        report = CompiledReport(bundle, recipe.to_dict(), check, time.monotonic() - started, reports)
        (folder / bundle.report.name).write_text(report.to_json(), encoding="utf-8")
        _remove_less_checked(path, check, timed=timed)
    return replace(report, bundle=read_bundle(path))


def _remove_less_checked(path: Path, check: str, *, timed: bool) -> None:
    """Makes room: a bundle of the same files would stay, with a report that knows less."""
    try:
        if path.exists() and not _is_checked(read_bundle(path), check, timed=timed):
            shutil.rmtree(path)
    except (BundleError, OSError):
        pass  # it is replaced anyway, or that fails with a reason


def _bundle(checkpoint: Checkpoint, path: Path, *, source: str, recipe: Recipe, disabled: Collection[str]) -> Bundle:
    return Bundle(
        path=path,
        dims=checkpoint.dims,
        precision=recipe.precision,
        source_digest=source,
        alignment_heads=checkpoint.alignment_heads,
        target=recipe.target,
        recipe=recipe.name,
        recipe_digest=recipe.digest_without(disabled),
        compiler=compiler_version(),
    )


def _folder_name(bundle: Bundle, recipe_digest: str) -> str:
    """The checkpoint, the recipe, and this release: another one's bundles stay for whoever uses it."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", bundle.recipe)[:40]
    recipe = hashlib.sha256(f"{recipe_digest} {__version__}".encode()).hexdigest()
    return f"{bundle.source_digest[:20]}-{name}-{recipe[:8]}-v{FORMAT_VERSION}"


@cache
def compiler_version() -> str:
    """This release, and a digest of the compiler's text: whoever changes a pass gets a new bundle."""
    folder = Path(__file__).parent
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        total.update(f"{file.relative_to(folder)}\0".encode())
        total.update(file.read_bytes())
    return f"{__version__} {total.hexdigest()[:16]}"


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
            abandoned = is_abandoned(leftover)
            if abandoned is None:
                abandoned = time.time() - leftover.stat().st_mtime > ABANDONED_AFTER
        except OSError:
            continue  # its process has just finished
        if abandoned:
            shutil.rmtree(leftover, ignore_errors=True)
