"""Checkpoints on the disk: where a model is, and its other forms, each written once into the cache.

cache/benchmarks/<digest of the source>/model.pt
                                        huggingface/
                                        ctranslate2-float32/
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.benchmarking.process import variables
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.errors import StagewhisperError

_NEEDED = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")
"""What transformers, and CTranslate2's converter, read beside the weights."""


class FormError(StagewhisperError):
    """A checkpoint cannot be written in another program's form; the message is the reason."""


@dataclass(frozen=True)
class Form:
    """A checkpoint as a program reads it."""

    path: Path
    compile: float | None = None
    """Seconds of compiling it, or of finding what was compiled before; None for what is only written differently."""


def form_of(source: Path, form: str, *, dtype: str, cache_dir: Path, bundles: Path) -> Form:
    """The checkpoint `source` in that form, written now unless it is there; `source` itself where it has that form.

    Compiled bundles are kept in the cache `bundles`, all else in `cache_dir`.

    Raises:
        FormError: it cannot be written.
        CheckpointError: the source cannot be read.
    """
    if form == "bundle":
        answer = json.loads(_run(form, source, bundles, dtype))
        return Form(Path(answer["path"]), answer["compile"])
    return Form(_rewritten(source, form, dtype=dtype, cache_dir=cache_dir))


def _rewritten(source: Path, form: str, *, dtype: str, cache_dir: Path) -> Path:
    folder = cache_dir / "benchmarks" / identity([source])
    stored = "float16" if load_checkpoint(source).stored_dtype == "float16" else "float32"
    if form == "source" or (form == "openai" and source.is_file()):
        return source
    if form == "openai":
        return _written(form, source, folder / "model.pt", stored)
    if form == "huggingface":
        is_whole = source.is_dir() and all((source / name).is_file() for name in _NEEDED)
        return source if is_whole else _written(form, source, folder / "huggingface", stored)
    whole = _rewritten(source, "huggingface", dtype=dtype, cache_dir=cache_dir)
    return _written(form, whole, folder / f"ctranslate2-{dtype}", dtype)


def identity(paths: Sequence[Path]) -> str:
    """A name for these files and folders as they are now, by places, sizes and times."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    stamps = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
    return hashlib.sha256(json.dumps(stamps).encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _written(form: str, source: Path, target: Path, dtype: str) -> Path:
    """`target`, once another process has written it beside its place and it was moved there."""
    if target.exists():
        return target
    unfinished = target.with_name(f"unfinished-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
    except OSError as error:
        raise FormError(f"Cannot write {target}: {error.strerror or error}. Name another --model-dir.") from error
    _run(form, source, unfinished, dtype)
    unfinished.rename(target)
    return target


def _run(form: str, source: Path, target: Path, dtype: str) -> str:
    """The last line of what the writing process printed."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "stagewhisper.benchmarking.write_form",
        form,
        str(source),
        str(target),
        dtype,
    ]
    finished = subprocess.run(  # noqa: S603 our own module, in our own Python
        command, capture_output=True, text=True, check=False, env=variables(None)
    )
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines()[-1:] or [f"it ended with code {finished.returncode}"]
        raise FormError(f"its checkpoint cannot be had in the form {form!r}: {said[0].strip()}")
    return (finished.stdout.strip().splitlines() or [""])[-1]
