"""Open whatever holds a file's bytes as one seekable binary file, together with its name for messages."""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from stagewhisper.audio.window import SeekableFile
from stagewhisper.errors import AudioError

_SPOOL_BYTES = 64 * 2**20  # a longer pipe goes on in a temporary file instead of memory
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@runtime_checkable
class ByteReader(Protocol):
    """A file object, as far as this package needs one."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, none at the end."""
        ...


@contextmanager
def opened(source: object) -> Iterator[tuple[SeekableFile, str]]:
    """A seekable binary file that stands at the first byte of the recording, and how to name it in messages.

    What was opened here is closed at the end; a caller's file object stays open.

    Raises:
        AudioError: `source` is missing, unreadable, empty, an address, or of a type that holds no recording.
    """
    with ExitStack() as to_close:
        if isinstance(source, str | os.PathLike):
            path = _local_path(source)
            name = repr(str(path))
            reader: ByteReader = to_close.enter_context(_open_path(path))
        elif isinstance(source, bytes | bytearray | memoryview):
            name = f"The recording given as {type(source).__name__}"
            reader = io.BytesIO(source)
        elif isinstance(source, ByteReader):
            name = _name(source)
            reader = source
        else:
            raise AudioError(
                f"Cannot read a recording from {type(source).__name__}. "
                "Pass a path, the bytes of a file, a file object open for reading bytes, or a NumPy array."
            )
        yield _seekable(reader, name, to_close), name


def _name(file: ByteReader) -> str:
    name = getattr(file, "name", type(file).__name__)
    return "standard input" if name == "<stdin>" else f"The file object {name!r}"


def _local_path(source: "str | os.PathLike[Any]") -> Path:
    if isinstance(source, str) and _ADDRESS.match(source):
        raise AudioError(f"{source!r} is an address, and only local files are read. Download it, then pass its path.")
    return Path(os.fsdecode(source))


def _open_path(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise AudioError(f"There is no file {str(path)!r}. Check the path, or pass an absolute one.") from error
    except IsADirectoryError as error:
        raise AudioError(f"{str(path)!r} is a folder. Pass the recordings in it one by one.") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{str(path)!r} cannot be opened: {error}. Check the path and its permissions.") from error


def _seekable(reader: ByteReader, name: str, to_close: ExitStack) -> SeekableFile:
    """`reader` itself, or a copy of what is left in it when it cannot seek, as decoding must."""
    try:
        file = cast("SeekableFile", reader) if _can_seek(reader) else _spooled(reader, to_close)
        start = file.tell()
        first_byte = file.read(1)
        file.seek(start)
    except (OSError, ValueError, TypeError) as error:
        raise AudioError(f"{name} cannot be read: {error}. Pass a file that is open for reading bytes.") from error
    if not isinstance(first_byte, bytes | bytearray):
        raise AudioError(f"{name} gives text. Open it in binary mode, with open(path, 'rb').")
    if not first_byte:
        raise AudioError(f"{name} is empty (0 bytes). Check that it was written or downloaded completely.")
    return file


def _can_seek(file: ByteReader) -> bool:
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable())


def _spooled(file: ByteReader, to_close: ExitStack) -> SeekableFile:
    spool = to_close.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))  # noqa: SIM115
    shutil.copyfileobj(file, spool)
    spool.seek(0)
    return cast("SeekableFile", spool)
