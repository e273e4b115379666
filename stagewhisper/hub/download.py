"""Fetch a model's files into the cache and compare them with the hub's digests; damaged ones come again."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stagewhisper.atomic import writing_atomically
from stagewhisper.errors import HubError
from stagewhisper.hub.cache import CONFIG, INDEX, SMALL_FILES, WEIGHTS, shard_files, storage_folder
from stagewhisper.hub.explain import as_hub_errors
from stagewhisper.hub.names import Wanted, is_commit
from stagewhisper.hub.verification import damaged_files, is_digest, remove_files

_LOG = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Source:
    """Where to fetch from, where to, and how loudly."""

    endpoint: str
    cache: Path
    token: str | None
    progress: bool


@dataclass(frozen=True)
class Listing:
    """A commit's files, as the hub describes them: size in bytes, and SHA-256 or git object id."""

    commit: str
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


def checked_endpoint(endpoint: str | None) -> str:
    """The hub's address, Hugging Face's own setting where none is given.

    Raises:
        HubError: it is neither https nor on this machine, so anybody on the way could replace the weights.
    """
    if endpoint is None:
        from huggingface_hub import constants

        endpoint = constants.ENDPOINT
    try:
        parts = urlsplit(endpoint)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        secure = False
    if not secure:
        raise HubError(f"The hub's address {endpoint!r} is not safe: expected https://. Correct the endpoint.")
    return endpoint.rstrip("/")


def fetch(wanted: Wanted, source: Source) -> Path:
    """The folder of a fully fetched and verified model.

    Files that are here and whole are not fetched again. A branch's new meaning is recorded in the cache
    only at the end, so a failed download leaves the former version usable.

    Raises:
        HubError: the hub cannot be reached or refuses, the repository holds no safetensors weights, the
            disk is full, or a file arrives damaged twice.
    """
    with as_hub_errors(wanted, source.endpoint):
        listing = _list_files(wanted, source)
        names = _first_files(wanted, listing)
        folder = _fetch_files(wanted, source, listing, names)
        if INDEX in names:
            shards = _listed_shards(wanted, listing, folder)
            _fetch_files(wanted, source, listing, shards)
            names = (*names, *shards)
        damaged_files(folder, names, digests=listing.digests, complete=True)
        _remember_branch(wanted, source, listing)
    return folder


def _list_files(wanted: Wanted, source: Source) -> Listing:
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=source.endpoint, token=source.token)
    info = api.model_info(
        wanted.repository,
        revision=wanted.revision,
        files_metadata=True,
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
    )
    files = info.siblings or []
    commit = str(info.sha)
    if not is_commit(commit):
        raise HubError(f"The hub gave no commit hash for the {wanted} but {commit!r}. Check the endpoint.")
    sizes = {file.rfilename: file.size or 0 for file in files}
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
    return Listing(commit, sizes, {name: digest for name, digest in digests.items() if is_digest(digest)})


def _first_files(wanted: Wanted, listing: Listing) -> tuple[str, ...]:
    """The small files and the whole weights or, if those come in parts, the index of the parts."""
    weights = next((name for name in (WEIGHTS, INDEX) if name in listing.sizes), None)
    if CONFIG not in listing.sizes:
        raise HubError(f"The {wanted} has no {CONFIG}, so it is no Transformers checkpoint. Choose another repository.")
    if weights is None:
        others = [name for name in listing.sizes if name.endswith((".bin", ".pt", ".msgpack", ".h5", ".onnx"))]
        raise HubError(
            f"The {wanted} has no safetensors weights, only {', '.join(sorted(others)[:3]) or 'none'}; "
            f"pickled weights are not read, for they can run programs. Convert it with Transformers' "
            f"save_pretrained, or look for a revision with {WEIGHTS}, such as refs/pr/1."
        )
    return (*(name for name in SMALL_FILES if name in listing.sizes), weights)


def _listed_shards(wanted: Wanted, listing: Listing, folder: Path) -> tuple[str, ...]:
    shards = shard_files(folder / INDEX)
    if shards is None:
        raise HubError(f"The {INDEX} of the {wanted} is not one, or names files elsewhere. Choose another revision.")
    absent = [name for name in shards if name not in listing.sizes]
    if absent:
        raise HubError(f"The {wanted} lacks {', '.join(absent)}, which its index names. Choose another revision.")
    return shards


def _fetch_files(wanted: Wanted, source: Source, listing: Listing, names: tuple[str, ...]) -> Path:
    folder = storage_folder(wanted.repository, source.cache) / "snapshots" / listing.commit
    _check_space(wanted, source, listing, folder, names)
    _download(wanted, source, listing, names)
    damaged = damaged_files(folder, names, digests=listing.digests)
    if damaged:
        _LOG.warning("Damaged, fetched again: %s of the %s", ", ".join(damaged), wanted)
        remove_files(folder, damaged)
        _download(wanted, source, listing, damaged, again=True)
        damaged = damaged_files(folder, damaged, digests=listing.digests)
    if damaged:
        remove_files(folder, damaged)
        raise HubError(
            f"{', '.join(damaged)} of the {wanted} arrived damaged twice from {source.endpoint}: the digest "
            f"is not the published one. Check the network and any mirror or proxy, then run it again."
        )
    return folder


def _check_space(wanted: Wanted, source: Source, listing: Listing, folder: Path, names: Iterable[str]) -> None:
    blobs = storage_folder(wanted.repository, source.cache) / "blobs"
    absent = [n for n in names if not (folder / n).exists() and not (blobs / listing.digests.get(n, "-")).exists()]
    needed = sum(listing.sizes[name] for name in absent)
    source.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(source.cache).free
    if needed > free:
        raise HubError(
            f"The {wanted} needs {needed / 1e6:.0f} MB more, but the disk of {source.cache} has only "
            f"{free / 1e6:.0f} MB left. Free some space, or set HF_HUB_CACHE to a folder on a larger disk."
        )


def _download(wanted: Wanted, source: Source, listing: Listing, names: tuple[str, ...], *, again: bool = False) -> None:
    from huggingface_hub import constants, snapshot_download

    snapshot_download(
        wanted.repository,
        revision=listing.commit,
        cache_dir=source.cache,
        endpoint=source.endpoint,
        token=source.token,
        etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
        allow_patterns=list(names),
        force_download=again,
        tqdm_class=None if source.progress else _silent_bar(),
    )
    folder = storage_folder(wanted.repository, source.cache) / "snapshots" / listing.commit
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:  # the library prefers an incomplete folder to an error when the network fails half-way
        raise HubError(f"The hub did not deliver {', '.join(absent)} of the {wanted}. Run it again.")


def _silent_bar() -> Any:
    from huggingface_hub.utils import tqdm as bar  # type: ignore[attr-defined]

    visible: Any = bar

    def start(self: Any, *args: Any, **options: Any) -> None:
        visible.__init__(self, *args, **{**options, "disable": True})

    return type("SilentBar", (visible,), {"__init__": start})


def _remember_branch(wanted: Wanted, source: Source, listing: Listing) -> None:
    if is_commit(wanted.revision):
        return
    reference = storage_folder(wanted.repository, source.cache) / "refs" / wanted.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    with writing_atomically(reference) as file:
        file.write(listing.commit)
