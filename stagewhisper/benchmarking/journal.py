"""Finished points, on the disk at once, so that a benchmark that was stopped goes on where it was.

One line of JSON for each point, kept in the output folder. Its key is a digest of everything that a point depends on: a
changed model, another number of repeats or another release is measured anew. Points that failed are tried again.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from stagewhisper import __version__
from stagewhisper.benchmarking.results import Result
from stagewhisper.errors import StagewhisperError


class Journal:
    """Results in a file, by what they depend on."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """`fresh` forgets what an earlier run has left.

        Raises:
            StagewhisperError: the file cannot be read or written.
        """
        self._path = path
        try:
            if fresh:
                path.unlink(missing_ok=True)
            self._finished = _entries(path)
            path.touch()
        except OSError as error:
            raise self._failure(error) from error

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
        # A line of its own, whatever a program that died has left at the end of the file.
        line = "\n" + json.dumps({"key": key, "result": result.to_dict()}) + "\n"
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            raise self._failure(error) from error
        self._finished[key] = result

    def _failure(self, error: OSError) -> StagewhisperError:
        return StagewhisperError(
            f"The journal {str(self._path)!r} cannot be used: {error.strerror or error}. "
            "Make room or give write permission there, or name another folder."
        )


def _key(depends: Mapping[str, Any]) -> str:
    return sha256(json.dumps([__version__, dict(depends)], sort_keys=True).encode()).hexdigest()


def _entries(path: Path) -> dict[str, Result]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            found[entry["key"]] = Result.from_dict(entry["result"])
        except (ValueError, TypeError, KeyError):  # cut off, or another version's
            continue
    return found
