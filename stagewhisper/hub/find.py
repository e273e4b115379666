"""The decision which copy of a model to use: the one that is here, or one fetched now."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from stagewhisper.errors import HubError
from stagewhisper.hub.cache import cache_folder, has_vocabulary, missing_files, present_files, snapshot_folder
from stagewhisper.hub.download import Source, checked_endpoint, fetch
from stagewhisper.hub.explain import other_ways
from stagewhisper.hub.names import Wanted, parse_name
from stagewhisper.hub.verification import damaged_files, read_stamp

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """What the cache has of a model: a folder, and what is wrong with it."""

    folder: Path
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    complete: bool

    @property
    def usable(self) -> bool:
        """Whether the model can be read, if perhaps without its vocabulary."""
        return not self.missing and not self.damaged


def find_model(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    offline: bool = False,
    cache_dir: str | Path | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    progress: bool = True,
) -> Path:
    """The verified local folder (or `.pt` file) of a model, fetched first if need be.

    `name` is a known name (`known_models`), `owner/name`, either with `@revision`, a folder, or a `.pt`
    file. Files lie in the user's Hugging Face cache (or in `cache_dir`), shared with other programs.

    What is complete there is used without any request. So a branch, "main" for an `owner/name` without
    revision, keeps the meaning that it had when it was fetched; a commit or another branch moves on.
    `offline`, or Hugging Face's own offline setting, forbids all requests. Then, and when the hub cannot be
    reached, a known model's "main" in the cache stands in for the pinned commit, with a warning in the log.
    `progress` shows a bar on stderr if that is a terminal. `token` is the user's own login where None.

    Raises:
        HubError: the name means nothing, or the model is not here and cannot be fetched.
    """
    wanted = parse_name(name, revision)
    try:
        if isinstance(wanted, Path):
            return _checked_path(wanted)
        cache = cache_folder(cache_dir)
        copy = _copy_in_cache(wanted, cache)
        if copy is not None and copy.usable and copy.complete:
            return copy.folder
        if offline or _hub_is_switched_off():
            return _without_network(wanted, copy, cache)
        return _with_network(wanted, copy, Source(checked_endpoint(endpoint), cache, token, progress))
    except OSError as error:
        raise HubError(
            f"Cannot read {error.filename}: {error.strerror}. Check the folder and its permissions."
        ) from error


def _hub_is_switched_off() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _checked_path(path: Path) -> Path:
    if path.is_file():
        if path.suffix != ".pt":
            raise HubError(
                f"{str(path)!r} is no model: expected a folder or a .pt file. Name the folder that holds it."
            )
        return path
    missing = missing_files(path)
    if missing and not _has_torch_files(path):
        raise HubError(
            f"The folder {str(path)!r} is no complete model: {', '.join(missing)} missing or unreadable. "
            f"Expected config.json and safetensors weights, or a .pt file. Copy it again, or convert it with "
            f"Transformers' save_pretrained."
        )
    return path


def _has_torch_files(folder: Path) -> bool:
    """Whether the folder holds PyTorch's own formats, which are for the checkpoint's reader to judge."""
    return any(file.suffix in (".pt", ".bin") for file in folder.iterdir())


def _copy_in_cache(wanted: Wanted, cache: Path) -> Copy | None:
    folder = snapshot_folder(wanted.repository, wanted.revision, cache)
    if folder is None:
        return None
    missing = missing_files(folder)
    damaged = () if missing else damaged_files(folder, present_files(folder))
    stamp = read_stamp(folder)
    lost = tuple(name for name in stamp.files if not (folder / name).is_file())
    complete = (stamp.complete and not lost) or has_vocabulary(folder)
    return Copy(folder, missing, damaged, complete)


def _with_network(wanted: Wanted, copy: Copy | None, source: Source) -> Path:
    if copy is not None and copy.damaged:  # mend this commit: a branch may mean another one by now
        damaged = ", ".join(str(copy.folder / name) for name in copy.damaged)
        _LOG.warning("Damaged, fetched again: %s", damaged)
        try:
            return fetch(replace(wanted, revision=copy.folder.name), source)
        except HubError as error:
            raise HubError(f"Damaged: {damaged}. {error}") from error
    try:
        return fetch(wanted, source)
    except HubError as error:
        stand_in = _stand_in(wanted, copy, source.cache)
        if stand_in is None:
            raise
        _LOG.warning("%s Using the copy in %s.", error, stand_in)
        return stand_in


def _without_network(wanted: Wanted, copy: Copy | None, cache: Path) -> Path:
    stand_in = _stand_in(wanted, copy, cache)
    if stand_in is not None:
        if copy is None or stand_in != copy.folder:
            _LOG.warning("Offline, and the %s is not here: using %s.", wanted, stand_in)
        return stand_in
    state = "is not on this machine"
    if copy is not None:
        missing = [f"{copy.folder / name} is missing" for name in copy.missing]
        damaged = [f"{copy.folder / name} is damaged" for name in copy.damaged]
        state = f"cannot be used: {', '.join((*missing, *damaged))}"
    raise HubError(f"The {wanted} {state}, and requests are forbidden (offline). {other_ways(wanted)}")


def _stand_in(wanted: Wanted, copy: Copy | None, cache: Path) -> Path | None:
    """The best that is here: the wanted revision, else "main" where the user did not name a revision."""
    if copy is not None and copy.usable:
        return copy.folder
    if not wanted.chosen_by_us:
        return None
    other = _copy_in_cache(replace(wanted, revision="main"), cache)
    return other.folder if other is not None and other.usable else None
