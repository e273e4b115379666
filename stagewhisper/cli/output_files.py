"""Files that a command writes besides what it prints: refused before the work begins, written whole or not at all.

A link stays a link, what it points to is written; a device or a pipe is written into, not replaced.
"""

import errno
import os
from collections import Counter
from pathlib import Path

from stagewhisper.errors import OptionError, StagewhisperError


def check_writable(*paths: str | None) -> None:
    """Raise now what would cost the work later: folders have to be there and take files.

    Raises:
        OptionError: two of the paths are one file.
        StagewhisperError: a path cannot be written.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        try:
            _check(_target(path))
        except OSError as error:
            raise _unwritable(path, error) from error
    targets = Counter(_target(path) for path in given if not _is_special(_target(path)))
    for path in given:
        if targets[_target(path)] > 1:
            raise OptionError(f"{path!r} would be written twice. Give each output a file of its own.")


def write_text(path: str, text: str) -> None:
    """Write `text` to the file `path`, in UTF-8.

    Raises:
        StagewhisperError: it cannot be written.
    """
    from stagewhisper.atomic import writing_atomically

    text = text.encode("utf-8", "replace").decode("utf-8")  # names may hold what is no character
    target = _target(path)
    try:
        if _is_special(target):
            with target.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        else:
            with writing_atomically(target) as file:
                file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def made_folder(path: str) -> Path:
    """The folder at `path`, made unless it is there.

    Raises:
        OptionError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another name for -o."
        ) from error
    return folder


def _target(path: str) -> Path:
    """Where writing to `path` ends up, links followed; what /dev/stdout names is no path, and stays."""
    return Path(path) if _is_special(Path(path)) else Path(os.path.realpath(path))


def _is_special(path: Path) -> bool:
    """Whether it is a device, a pipe or a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check(target: Path) -> None:
    import tempfile

    if target.is_symlink():  # all links that lead somewhere are followed
        raise OSError(errno.ELOOP, "its links lead in a circle", str(target))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
    if _is_special(target):
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied", str(target))
    else:
        tempfile.TemporaryFile(dir=target.parent).close()


def _unwritable(path: str, error: OSError) -> StagewhisperError:
    return StagewhisperError(
        f"Cannot write {path!r}: {error.strerror or error}. "
        "Choose another place, or make room or give write permission there."
    )
