"""What is said on standard error: one line per message, starting with the program's name.

Below this layer the package informs through `logging` and `warnings`; here both become lines for people.
"""

import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from stagewhisper.cli.streams import discard
from stagewhisper.errors import StagewhisperError, StagewhisperWarning

_KIND_BY_LEVEL = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error"}


def report(kind: str | None, message: str) -> None:
    """Writes `stagewhisper: kind: message` to standard error, on one line."""
    prefix = f"stagewhisper: {kind}: " if kind else "stagewhisper: "
    # The stream is looked up at each message: a running progress bar puts itself in its place.
    try:
        sys.stderr.write(prefix + " ".join(message.split()) + "\n")
        sys.stderr.flush()
    except OSError:  # nobody can be told; the work itself goes on
        discard(sys.stderr)


@dataclass(frozen=True)
class Messages:
    """Where a command tells what went wrong."""

    debug: bool
    """Show the traceback of every failure."""

    def failure(self, error: Exception, *, name: str | None = None) -> None:
        """Reports `error`; `name` is the input that it concerns, added unless the message has it already."""
        message = str(error)
        if not isinstance(error, StagewhisperError):
            message = f"{type(error).__name__}: {message}" if message else type(error).__name__
        report("error", message if name is None or _is_named(name, message) else f"{name}: {message}")
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)


@contextmanager
def messages_on_stderr(*, informative: bool, debug: bool) -> Iterator[Messages]:
    """While it is open, the package's log and warnings appear on standard error.

    Warnings and errors always do, what happens in general only when `informative`.
    """
    logger = logging.getLogger("stagewhisper")
    former_level, handler = logger.level, _StderrHandler()
    logger.setLevel(logging.DEBUG if debug else logging.INFO if informative else logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            # "always": the second damaged file must be announced like the first.
            warnings.simplefilter("always", StagewhisperWarning)
            warnings.showwarning = _show_ours(warnings.showwarning)
            yield Messages(debug=debug)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(former_level)


def _is_named(name: str, message: str) -> bool:
    # Most messages quote names as Python does, which doubles backslashes and spells odd characters out.
    return name in message or repr(name)[1:-1] in message


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        report(_KIND_BY_LEVEL.get(record.levelno), record.getMessage())


def _show_ours(show_others: Callable[..., None]) -> Callable[..., None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, StagewhisperWarning):
            report("warning", str(message))
        else:
            show_others(message, category, filename, lineno, file, line)

    return show
