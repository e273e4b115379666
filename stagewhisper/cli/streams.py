"""Standard input, output and error, which may be closed, full, or unable to show a character."""

import io
import os
import sys
from typing import Protocol, runtime_checkable

from stagewhisper.errors import StagewhisperError


class StdoutError(StagewhisperError):
    """Standard output takes no more text."""


@runtime_checkable
class Stream(Protocol):
    """All that `discard` asks of a stream: a program that calls `main` may have put its own in place."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


def prepare_streams() -> None:
    """Makes writing to standard output and error safe: what is closed becomes a sink, what cannot be shown "?"."""
    # Python has None for a stream that the caller closed, as in `stagewhisper talk.wav >&-`.
    sys.stdout = sys.stdout or _sink()
    sys.stderr = sys.stderr or _sink()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_text(text: str) -> None:
    """Writes `text` and a newline to standard output, at once.

    Raises:
        StdoutError: it cannot be written, as on a full disk.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        raise StdoutError(
            f"Cannot write to standard output: {error.strerror}. Make room, or send it elsewhere."
        ) from error


def discard(stream: Stream) -> None:
    """Sends the rest of `stream`, whose reader is gone or whose disk is full, to nowhere.

    The interpreter flushes it once more when it ends, and would complain.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # replaced by something without a file, or closed
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _sink() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - open until the interpreter ends
