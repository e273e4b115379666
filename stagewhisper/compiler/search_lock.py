"""One search at a time in a folder: two would throw away each other's bundles and lines of the footprint.

The lock is the system's, on the file `search.lock`: it ends with its process, however that ends, so a file that a
killed search left behind keeps nobody out. The file tells whose it is, and goes with the search.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from stagewhisper.errors import StagewhisperError

logger = logging.getLogger(__name__)

LOCK = "search.lock"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While it is open, no other search can work in `folder`, which exists.

    Raises:
        StagewhisperError: another one is at work there, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        file = _locked(path)
    except OSError as error:
        raise StagewhisperError(
            f"Cannot write to {folder}: {error.strerror or error}. Name another folder, or make room there."
        ) from error
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone, and the lock ends with the file
                path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO:
    """The file, locked, with this process's number in it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, path)
            if _is_still(file, path):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the search that had it ended after it was opened here, and took it away


def _lock(file: TextIO, path: Path) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        logger.warning("This system cannot tell whether another search is at work in %s: start no second.", path.parent)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StagewhisperError(
            f"Another search{_process(file)} is at work in {path.parent}. Wait until it ends, or name another folder."
        ) from error
    except OSError as error:  # some network file systems have no locks
        logger.warning(
            "It cannot be told whether another search is at work in %s (%s): start no second.",
            path.parent,
            error.strerror or error,
        )


def _is_still(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _process(file: TextIO) -> str:
    """Whose the lock is, if it says so: between locking and writing it does not."""
    file.seek(0)
    number = file.read().strip()
    return f" (process {number})" if number.isdecimal() else ""
