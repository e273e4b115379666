"""Finished points, on the disk at once, so that a benchmark that was stopped goes on where it was.

One line of JSON for each point, kept in the output folder. Its key is a digest of everything that a point depends on: a
changed model, another number of repeats or another release is measured anew. Points that failed are tried again.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from stagewhisper import __version__
from stagewhisper.benchmarking.results import Result
from stagewhisper.evaluation.journal_file import JournalFile


class Journal:
    """Results in a file, by what they depend on."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """`fresh` forgets what an earlier run has left.

        Raises:
            StagewhisperError: the file cannot be read or written.
        """
        self._file = JournalFile(path, remedy="or name another folder")
        try:
            if fresh:
                path.unlink(missing_ok=True)
            self._finished = _finished(self._file)
            path.touch()
        except OSError as error:
            raise self._file.failure(error) from error

    def find(self, depends: Mapping[str, Any]) -> Result | None:
        """The result that depends on just this, if it is there."""
        return self._finished.get(_key(depends))

    def add(self, depends: Mapping[str, Any], result: Result) -> None:
        """Write a finished point down; one that failed is not finished.

        Raises:
            StagewhisperError: the disk is full, or the folder is gone.
        """
        if not result.is_done:
            return
        key = _key(depends)
        self._file.add(key, {"result": result.to_dict()})
        self._finished[key] = result


def _key(depends: Mapping[str, Any]) -> str:
    return sha256(json.dumps([__version__, dict(depends)], sort_keys=True).encode()).hexdigest()


def _finished(file: JournalFile) -> dict[str, Result]:
    found = {}
    for key, record in file.records():
        with suppress(ValueError, TypeError, KeyError):  # another version's
            found[key] = Result.from_dict(record["result"])
    return found
