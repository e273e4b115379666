"""A transcript becomes a file as a whole or not at all."""

import secrets
from pathlib import Path

from stagewhisper.errors import StagewhisperError
from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import WRITERS


def write_transcript(transcript: Transcript, path: Path, *, format: str) -> None:  # noqa: A002 the usual word
    """Writes `transcript` to `path` (UTF-8, "\\n" newlines), replacing what was there in one step.

    Raises:
        OptionError: no writer is called `format`.
        StagewhisperError: the file cannot be written; whatever `path` held before is untouched.
    """
    write = WRITERS.get(format)
    # Beside the target, since a file can replace another in one step only within a file system;
    # the short name is not derived from the target's, which may be as long as a name can be.
    unfinished = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with unfinished.open("x", encoding="utf-8", newline="\n") as file:
            write(transcript, file)
        unfinished.replace(path)
    except OSError as error:
        raise StagewhisperError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. "
            "Choose another output folder, or make room or give write permission there."
        ) from error
    finally:
        _remove_quietly(unfinished)


def _remove_quietly(path: Path) -> None:
    # After a success it is gone already; after a failure its removal must not hide the reason.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
