"""Files that one process at a time holds. The system lets go of them when a process ends, however it ends."""

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_LOOK_AGAIN = 0.1
"""Seconds between two looks at a file that another process holds."""

if sys.platform == "win32":
    import msvcrt

    def _take(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def holding(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """The file `path`, made if need be, is ours while the block lasts; gives whether another had it first.

    `on_wait` is called once before waiting. Where a file cannot be made or the file system knows no locks, the block
    runs without: whoever relies on it has to be right then, too, only slower.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError:
        yield False
        return
    with file:
        yield _wait_for(file, on_wait)


def is_held(path: Path) -> bool | None:
    """Whether a process, this one included, holds the file; None where there is none or nobody can tell."""
    try:
        with path.open("r+b") as file:
            return not _taken(file)
    except OSError:
        return None


def _wait_for(file: BinaryIO, on_wait: Callable[[], None] | None) -> bool:
    """Whether there was a need to wait."""
    waited = False
    try:
        while not _taken(file):
            if not waited and on_wait is not None:
                on_wait()
            waited = True
            time.sleep(_LOOK_AGAIN)
    except OSError:
        pass  # no locks here
    return waited


def _taken(file: BinaryIO) -> bool:
    """Whether it is ours now; it stays so until it is closed."""
    try:
        _take(file)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
