"""Files that a command writes besides what it prints: refused before the work begins, written whole or not at all."""

from pathlib import Path

from stagewhisper.errors import StagewhisperError


def check_writable(path: str | None) -> None:
    """Raise now what would cost the work later: the folder has to be there and take files."""
    if path is None:
        return
    import tempfile

    try:
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise _unwritable(path, error) from error


def write_text(path: str, text: str) -> None:
    """Write `text` to the file `path`, in UTF-8.

    Raises:
        StagewhisperError: it cannot be written.
    """
    from stagewhisper.atomic import writing_atomically

    try:
        with writing_atomically(Path(path)) as file:
            file.write(text.encode("utf-8", "replace").decode("utf-8"))  # names may hold what is no character
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> StagewhisperError:
    return StagewhisperError(
        f"Cannot write {path!r}: {error.strerror or error}. "
        "Choose another place, or make room or give write permission there."
    )
