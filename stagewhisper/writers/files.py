"""A transcript becomes a file as a whole or not at all."""

from pathlib import Path

from stagewhisper.atomic import writing_atomically
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
    try:
        with writing_atomically(path) as file:
            write(transcript, file)
    except OSError as error:
        raise StagewhisperError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. "
            "Choose another output folder, or make room or give write permission there."
        ) from error
