"""A caller's file, seen from where it stood, in the form that PyAV reads."""

import os
from typing import Protocol, runtime_checkable


@runtime_checkable
class SeekableFile(Protocol):
    """What decoding needs of a file: every binary file of Python has it, and few other methods matter."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, none at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """The new position."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


class ByteWindow:
    """The bytes of a seekable file from its current position on; errors are kept, not raised.

    PyAV carries an exception out of ffmpeg's callbacks only if ffmpeg happens to return at once, and prints a
    traceback when a second one comes. So a failing read looks like the end of the file, and `error` tells.
    It has no `name`, and so ffmpeg has none to derive others from.
    """

    def __init__(self, file: SeekableFile) -> None:
        self._file = file
        self._start = file.tell()
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end or after an error."""
        try:
            chunk = self._file.read(size)
        except Exception as error:  # noqa: BLE001 - a caller's object may raise anything
            self.error = self.error or error
            return b""
        return bytes(chunk)[:size] if chunk else b""  # PyAV copies what it gets, whatever its length

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, or -1 (to ffmpeg an error that it can handle) where there is none."""
        try:
            if whence == os.SEEK_SET:
                if offset < 0:
                    return -1
                offset += self._start
            return max(self._file.seek(offset, whence) - self._start, -1)
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        """The position that ffmpeg sees."""
        return self._file.tell() - self._start
