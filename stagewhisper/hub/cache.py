"""What lies in the user's Hugging Face cache, read straight from the disk: no request is ever made here.

    models--OWNER--NAME/
        refs/main                the commit that "main" meant at the last download
        snapshots/COMMIT/NAME    link ─► ../../blobs/DIGEST (a plain file where links are not possible)
        blobs/DIGEST             content; named by SHA-256 (large files) or git object id (small ones)

Source: huggingface_hub, "Understand caching".
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.errors import HubError
from stagewhisper.hub.known import EMBEDDED, EMBEDDED_FILES, embedded_is_complete, embedded_path, known_models
from stagewhisper.hub.names import is_commit

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SMALL_FILES = (
    CONFIG,
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
)
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors\Z", re.A)


@dataclass(frozen=True)
class CachedModel:
    """One row of `models list`: `path` is None until the model is complete here."""

    name: str
    repository: str | None
    path: Path | None
    bytes_on_disk: int


def cached_models(cache_dir: str | Path | None = None) -> tuple[CachedModel, ...]:
    """Every known model, and every other Whisper checkpoint in the cache, with what of it is on this disk.

    Models that share a repository have one row. Nothing is verified and no request is made.

    Raises:
        HubError: the cache folder cannot be read.
    """
    cache = cache_folder(cache_dir)
    known = {model.repository: model for model in reversed(known_models()) if model.repository is not None}
    try:
        rows = [_embedded_row()]
        for repository, model in reversed(known.items()):
            rows.append(_row(model.name, repository, (str(model.revision), "main"), cache))
        for repository in _other_repositories(cache, set(known)):
            row = _row(repository, repository, ("main", *_commits(repository, cache)), cache)
            if row.path is not None and _is_whisper(row.path):
                rows.append(row)
    except OSError as error:
        raise HubError(f"Cannot read the model cache {cache}: {error.strerror}. Check its permissions.") from error
    return tuple(rows)


def cache_folder(cache_dir: str | Path | None) -> Path:
    """The given folder, else the user's ordinary Hugging Face cache."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def storage_folder(repository: str, cache: Path) -> Path:
    """Where the cache keeps everything of one repository."""
    return cache / f"models--{repository.replace('/', '--')}"


def snapshot_folder(repository: str, revision: str, cache: Path) -> Path | None:
    """The folder of this revision as far as it is here, or None; a branch is what it was when fetched."""
    storage = storage_folder(repository, cache)
    commit = revision
    if not is_commit(revision):
        reference = storage / "refs" / revision
        commit = reference.read_text("ascii", errors="replace").strip() if reference.is_file() else ""
    folder = storage / "snapshots" / commit
    return folder if is_commit(commit) and folder.is_dir() else None


def present_files(folder: Path) -> tuple[str, ...]:
    """Names of the files here that a model is read from, weights included."""
    names = (*SMALL_FILES, *_weight_files(folder))
    return tuple(name for name in names if (folder / name).is_file())


def missing_files(folder: Path) -> tuple[str, ...]:
    """Names of the files that are needed and not here, or whose link leads nowhere."""
    needed = (CONFIG, *_weight_files(folder))
    broken = (name for name in SMALL_FILES if (folder / name).is_symlink())
    names = dict.fromkeys((*needed, *broken))
    missing = [name for name in names if not (folder / name).is_file()]
    if INDEX in needed and shard_files(folder / INDEX) is None and INDEX not in missing:
        missing.append(INDEX)  # half-written: it cannot tell which weights belong to the model
    return tuple(missing)


def has_vocabulary(folder: Path) -> bool:
    """Whether what a Whisper repository normally holds beside the weights is here too."""
    vocabulary = (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()
    return vocabulary and (folder / "generation_config.json").is_file()


def shard_files(index: Path) -> tuple[str, ...] | None:
    """Names of the weight files that an index lists; None if it is damaged or names anything but siblings."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not names or not all(isinstance(name, str) and _SHARD.match(name) for name in names):
        return None
    return tuple(sorted(names))


def _weight_files(folder: Path) -> tuple[str, ...]:
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.exists() or whole.is_symlink() or not (index.exists() or index.is_symlink()):
        return (WEIGHTS,)
    return (INDEX, *(shard_files(index) or ()))


def _embedded_row() -> CachedModel:
    if not embedded_is_complete():
        return CachedModel(EMBEDDED, None, None, 0)
    folder = embedded_path()
    return CachedModel(EMBEDDED, None, folder, sum((folder / name).stat().st_size for name in EMBEDDED_FILES))


def _row(name: str, repository: str, revisions: tuple[str, ...], cache: Path) -> CachedModel:
    folders = (snapshot_folder(repository, revision, cache) for revision in revisions)
    complete = next((folder for folder in folders if folder and not missing_files(folder)), None)
    return CachedModel(name, repository, complete, _bytes_in(storage_folder(repository, cache)))


def _bytes_in(storage: Path) -> int:
    files = (path for kind in ("blobs", "snapshots") for path in (storage / kind).rglob("*") if not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file())


def _other_repositories(cache: Path, known: set[str]) -> list[str]:
    names = (path.name.removeprefix("models--").split("--") for path in cache.glob("models--*") if path.is_dir())
    return sorted({"/".join(name) for name in names if len(name) == 2} - known)


def _commits(repository: str, cache: Path) -> list[str]:
    snapshots = storage_folder(repository, cache) / "snapshots"
    return sorted(path.name for path in snapshots.iterdir() if path.is_dir()) if snapshots.is_dir() else []


def _is_whisper(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "whisper"
