"""What a search has measured, on the disk after each point, so that a search that was stopped goes on where it was.

One line of JSON for each recipe. A line counts only where everything is as it was then: the checkpoint, the recipe, the
data, the machine and the compiler. Other lines stay in the file, for the day when that comes back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stagewhisper.atomic import writing_atomically
from stagewhisper.errors import StagewhisperError

FORMAT = 1
DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Record:
    """What is known of one recipe."""

    recipe: str
    """Its digest."""
    choices: Mapping[str, Any]
    """The chosen values by name; empty for a recipe that limits are counted from."""
    state: str
    """"done", or "failed": it could not be compiled, broke the numbers, or could not be run."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """Times as they were measured, beside the reference's in the same minute."""
    reason: str | None = None
    """Why it failed."""
    seconds: float = 0.0
    """What compiling and measuring took."""
    created: str = ""
    """UTC, ISO 8601."""

    @property
    def is_done(self) -> bool:
        """Whether it has values."""
        return self.state == DONE


class Footprint:
    """The records of a file that were made under the same circumstances."""

    def __init__(self, path: Path, *, circumstances: Mapping[str, Any]) -> None:
        """`circumstances` are plain data: whatever else the values depend on.

        Raises:
            StagewhisperError: the file cannot be read, or is none of ours.
        """
        self._path = path
        self._circumstances = json.loads(json.dumps(circumstances))
        self._others: list[str] = []
        self._records: dict[str, Record] = {}
        for number, line in enumerate(_lines(path), start=1):
            self._read(line, f"{path}, line {number}")

    @property
    def n_others(self) -> int:
        """Lines that were made under other circumstances."""
        return len(self._others)

    @property
    def records(self) -> tuple[Record, ...]:
        """In the order in which they were made."""
        return tuple(self._records.values())

    def find(self, recipe: str) -> Record | None:
        """The record of the recipe with this digest."""
        return self._records.get(recipe)

    def add(self, record: Record) -> None:
        """Keeps a record, in the file too, which is replaced whole.

        Raises:
            StagewhisperError: the disk is full, or the folder is gone.
        """
        self._records[record.recipe] = record
        own = [self._line(each) for each in self._records.values()]
        try:
            with writing_atomically(self._path) as file:
                file.writelines(f"{line}\n" for line in [*self._others, *own])
        except OSError as error:
            raise StagewhisperError(
                f"Cannot write {self._path}: {error.strerror or error}. Make room, or name another folder."
            ) from error

    def _read(self, line: str, place: str) -> None:
        try:
            entry = json.loads(line)
            circumstances, number = entry.pop("circumstances"), entry.pop("format")
            if circumstances != self._circumstances or number != FORMAT:
                self._others.append(line)
                return
            record = Record(**entry)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StagewhisperError(
                f"{place} is no record of a search ({error}). Remove that line, or name another folder."
            ) from error
        self._records[record.recipe] = record

    def _line(self, record: Record) -> str:
        return json.dumps({"format": FORMAT, **asdict(record), "circumstances": self._circumstances})


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StagewhisperError(f"Cannot read {path}: {error}. Name another folder.") from error
