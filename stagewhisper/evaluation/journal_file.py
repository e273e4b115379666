"""Records by key in a file, one line of JSON each, on the disk as soon as they are known.

A line that was cut off when the program ended is no JSON, and is passed over.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stagewhisper.errors import StagewhisperError


class JournalFile:
    """Where a journal's lines are; the file appears with the first of them."""

    def __init__(self, path: Path, *, remedy: str) -> None:
        """`remedy` ends the message when the file cannot be used: "or name another folder"."""
        self.path, self._remedy = path, remedy

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, the rest of the line) of every whole line, the oldest first.

        Raises:
            OSError: the file cannot be read.
        """
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                key = record.pop("key")
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
            yield key, record

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            StagewhisperError: the disk is full, or the folder is gone.
        """
        # A line of its own, whatever a program that died has left at the end of the file.
        line = "\n" + json.dumps({"key": key, **record}) + "\n"
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            raise self.failure(error) from error

    def failure(self, error: OSError) -> StagewhisperError:
        """What to raise for an error of the file system."""
        return StagewhisperError(
            f"The journal {str(self.path)!r} cannot be used: {error.strerror or error}. "
            f"Make room or give write permission there, {self._remedy}."
        )
