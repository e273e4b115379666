"""What is already transcribed, on the disk at once, so that an interrupted evaluation goes on where it stopped.

One line of JSON per clip. Its key is a digest of everything that the transcription depends on; a line that was cut off
when the program ended is no JSON, and is passed over.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stagewhisper.errors import StagewhisperError
from stagewhisper.evaluation.items import Item
from stagewhisper.evaluation.transcriber import Transcription


class Journal:
    """The finished clips of one model in a file, which several models may share."""

    def __init__(self, path: Path, *, model: str) -> None:
        """`model` is a text that changes when the model does: its files and how it is run.

        Raises:
            StagewhisperError: the file, or its folder, cannot be read or written.
        """
        self._path = path
        self._model = model
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._finished = _entries(path)
        except OSError as error:
            raise self._failure(error) from error

    def find(self, item: Item, options: Mapping[str, Any]) -> Transcription | None:
        """The transcription of `item` with these options, if it is there."""
        return self._finished.get(self._key(item, options))

    def add(self, item: Item, options: Mapping[str, Any], transcription: Transcription) -> None:
        """Writes a finished clip down.

        Raises:
            StagewhisperError: the disk is full, or the folder is gone.
        """
        key = self._key(item, options)
        # A line of its own, whatever a program that died has left at the end of the file.
        line = "\n" + json.dumps({"key": key, **transcription.to_dict()}) + "\n"
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            raise self._failure(error) from error
        self._finished[key] = transcription

    def remove(self) -> None:
        """Deletes the file: the evaluation is finished."""
        self._path.unlink(missing_ok=True)

    def _key(self, item: Item, options: Mapping[str, Any]) -> str:
        parts = [
            version("stagewhisper"),
            self._model,
            item.source.stamp(),
            {name: options[name] for name in sorted(options)},
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _failure(self, error: OSError) -> StagewhisperError:
        return StagewhisperError(
            f"The journal {str(self._path)!r} cannot be used: {error.strerror or error}. "
            "Make room or give write permission there, or go without a journal."
        )


def _entries(path: Path) -> dict[str, Transcription]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            key = entry.pop("key")
            found[key] = Transcription(**entry)
        except (ValueError, TypeError, KeyError, AttributeError):  # cut off, or another version's
            continue
    return found
