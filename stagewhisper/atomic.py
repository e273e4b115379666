"""Write a text file whole or not at all."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def writing_atomically(path: Path) -> Iterator[TextIO]:
    r"""A new UTF-8 file that becomes `path` in one step when the block ends, and vanishes if it fails.

    Lines end with "\n" on every system.

    Raises:
        OSError: the folder cannot be written, or the disk is full; whatever `path` held before is untouched.
    """
    # Beside the target, since a file replaces another in one step only within a file system. The short name is not
    # made from the target's, which may be as long as a name can be.
    unfinished = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with unfinished.open("x", encoding="utf-8", newline="\n") as file:
            yield file
        unfinished.replace(path)
    finally:
        # After a success it is gone already; after a failure its removal must not hide the reason.
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
