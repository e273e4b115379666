"""Where an evaluation's finished clips are kept, and by what a model is known again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def journal_path(cache_dir: Path | None, run: Any) -> Path:
    """A file of its own for each `run`, in the cache folder; it is there only while the run is unfinished."""
    from stagewhisper.compiler import default_cache_dir

    digest = hashlib.sha256(json.dumps(run).encode()).hexdigest()[:20]
    return (cache_dir or default_cache_dir()) / "evaluations" / f"{digest}.jsonl"


def model_identity(name: str, loading: Mapping[str, Any]) -> str:
    """A text that changes with the files of a loaded model, and with what runs it."""
    from stagewhisper.bundle import is_bundle
    from stagewhisper.hub import find_model

    path = Path(name)
    if not is_bundle(path):
        path = find_model(name, **{option: loading[option] for option in ("revision", "offline", "cache_dir")})
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stamps = [[str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
    return json.dumps([stamps, about_engine(loading)])


def shown_name(name: str) -> str:
    """The model's name for documents: of a path its last part, for pages are sent to people who need not know more."""
    path = Path(name)
    return path.resolve().name if path.exists() else name


def about_engine(loading: Mapping[str, Any]) -> dict[str, Any]:
    """What runs the model, the defaults by name; `threads` is None where the engine chooses.

    What was asked for the encoder alone is told only where something was.
    """
    from stagewhisper.model import DEFAULT_ENGINE

    encoder = ("encoder_engine", "encoder_device", "encoder_precision")
    return {
        "engine": loading["engine"] or DEFAULT_ENGINE,
        "device": loading["device"] or "cpu",
        "precision": loading["precision"] or "fp32",
        "threads": loading["threads"],
        **{name: loading[name] for name in encoder if loading.get(name) is not None},
    }
