"""What the user typed → a path on this machine, or a repository at a revision."""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.errors import HubError
from stagewhisper.hub.known import EMBEDDED, embedded_is_complete, embedded_path, known_by_name, known_models

# The hub's own rule (huggingface_hub.utils.validate_repo_id), with an owner required.
_REPOSITORY = re.compile(
    r"(?=.{3,96}\Z)(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.git)(?<![.-])\Z", re.A
)
_REVISION = re.compile(r"(?=.{1,200}\Z)(?!.*(\.\.|//))[A-Za-z0-9][\w./+-]*(?<!/)\Z", re.A)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True)
class Wanted:
    """A repository at a revision; `chosen_by_us` tells that the user named no revision."""

    name: str
    repository: str
    revision: str
    chosen_by_us: bool

    def __str__(self) -> str:
        where = f"{self.repository} at {self.revision}"
        return f"model {self.name!r}" if self.name.startswith(self.repository) else f"model {self.name!r} ({where})"


def is_commit(revision: str) -> bool:
    """Whether `revision` is a full commit hash, which can never come to mean anything else."""
    return _COMMIT.match(revision) is not None


def parse_name(name: str | os.PathLike[str], revision: str | None) -> Wanted | Path:
    """The path or the repository that `name` means.

    A short name wins over a folder of the same name in the working directory (write `./tiny` for that
    one); an existing file or folder wins over a repository.

    Raises:
        HubError: the name is neither known, nor present, nor shaped like a repository's.
    """
    if not isinstance(name, str):
        return _existing(Path(name), revision)
    if not name or not name.isprintable():
        raise HubError(f"{name!r} is no model name: it is empty or holds control characters. {_HELP}")
    base, _, at = name.partition("@")
    known = known_by_name(base)
    if known is not None and known.repository is None:
        return _embedded(at or revision)
    if known is None and (_looks_like_a_path(name) or _exists(Path(name))):
        return _existing(Path(name), revision)
    if known is None and "/" not in base:
        raise HubError(_unknown(base))
    repository = base if known is None else str(known.repository)
    asked = _one_revision(name, at, revision)
    default = "main" if known is None else str(known.revision)
    if _REPOSITORY.match(repository) is None:
        raise HubError(f"{name!r} is no repository name: expected owner/name. {_HELP}")
    return Wanted(name, repository, asked or default, asked is None)


def _one_revision(name: str, at: str, revision: str | None) -> str | None:
    if at and revision and at != revision:
        raise HubError(f"{name!r} names one revision and the option another, {revision!r}. Give only one.")
    asked = revision if revision is not None else at if "@" in name else None
    if asked is not None and _REVISION.match(asked) is None:
        raise HubError(f"{asked!r} is no revision: expected a branch, a tag or a commit hash.")
    return asked


def _embedded(revision: str | None) -> Path:
    if revision:
        raise HubError(f"The model {EMBEDDED!r} is part of the package and has no revision {revision!r}. Leave it out.")
    if not embedded_is_complete():
        raise HubError(f"The embedded model {EMBEDDED!r} is missing from this installation. Install the package again.")
    return embedded_path()


def _existing(path: Path, revision: str | None) -> Path:
    if not _exists(path):
        raise HubError(f"There is no file or folder {str(path)!r}. {_HELP}")
    if revision is not None:
        raise HubError(f"{str(path)!r} is on this machine and has no revision {revision!r}. Leave the revision out.")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than the file system allows, or a folder that we may not enter
        return False


def _looks_like_a_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~", "\\")) or name.endswith(".pt") or "\\" in name


def _unknown(name: str) -> str:
    names = [model.name for model in known_models()]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"No model named {name!r}.{hint} Known: {', '.join(names)}; or owner/name, a folder, or a .pt file."


_HELP = "Give a known name such as tiny, owner/name, a folder with safetensors weights, or a .pt file."
