"""What is already transcribed, on the disk at once, so that an interrupted evaluation goes on where it stopped.

One line of JSON per clip. Its key is a digest of everything that the transcription depends on; a line that was cut off
when the program ended is no JSON, and is passed over.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stagewhisper.evaluation.items import Item
from stagewhisper.evaluation.journal_file import JournalFile
from stagewhisper.evaluation.transcriber import Transcription


class Journal:
    """The finished clips of one model in a file, which several models may share."""

    def __init__(self, path: Path, *, model: str) -> None:
        """`model` is a text that changes when the model does: its files and how it is run.

        Raises:
            StagewhisperError: the file, or its folder, cannot be read or written.
        """
        self._file = JournalFile(path, remedy="or go without a journal")
        self._model = model
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._finished = _finished(self._file)
        except OSError as error:
            raise self._file.failure(error) from error

    def find(self, item: Item, options: Mapping[str, Any]) -> Transcription | None:
        """The transcription of `item` with these options, if it is there."""
        return self._finished.get(self._key(item, options))

    def add(self, item: Item, options: Mapping[str, Any], transcription: Transcription) -> None:
        """Writes a finished clip down.

        Raises:
            StagewhisperError: the disk is full, or the folder is gone.
        """
        key = self._key(item, options)
        self._file.add(key, transcription.to_dict())
        self._finished[key] = transcription

    def remove(self) -> None:
        """Deletes the file: the evaluation is finished."""
        self._file.path.unlink(missing_ok=True)

    def _key(self, item: Item, options: Mapping[str, Any]) -> str:
        parts = [
            version("stagewhisper"),
            self._model,
            item.source.stamp(),
            {name: options[name] for name in sorted(options)},
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _finished(file: JournalFile) -> dict[str, Transcription]:
    found = {}
    for key, record in file.records():
        with suppress(ValueError, TypeError):  # another version's
            found[key] = Transcription(**record)
    return found
