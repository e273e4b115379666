"""A data set: recordings whose true text is known.

Different makers call the same thing by different names; the lists below hold those in use.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from stagewhisper.errors import DataSetError, OptionError
from stagewhisper.languages import language_code

AUDIO_FIELDS = ("audio", "audio_path", "audio_filepath", "path", "file_name", "file")
TEXT_FIELDS = ("text", "transcription", "transcript", "sentence", "reference")
LANGUAGE_FIELDS = ("language", "lang", "locale")


@runtime_checkable
class ItemAudio(Protocol):
    """Where an item's recording is."""

    def read(self) -> Path | bytes:
        """What `load_audio` takes.

        Raises:
            StagewhisperError: it is not there any more.
        """
        ...

    def stamp(self) -> str:
        """A text that changes when the recording does."""
        ...


@dataclass(frozen=True)
class FileAudio:
    """A recording that is a file of its own."""

    path: Path

    def read(self) -> Path:
        """The path; a file that is missing is for the reader to report."""
        return self.path

    def stamp(self) -> str:
        """Path, size and time of the file."""
        return file_stamp(self.path)


@dataclass(frozen=True)
class Item:
    """One recording and the truth about it."""

    id: str
    """Unique in the data set; begins with its name."""
    audio: str
    """The recording as the data set names it."""
    source: ItemAudio
    text: str
    """What is said, or its English translation if that is the task; empty for silence."""
    language: str | None = None
    """A code; Whisper's where Whisper knows the language."""
    speaker: str | None = None
    subset: str | None = None
    task: str | None = None
    """"transcribe" or "translate"; None leaves it to the evaluation."""
    start: float | None = None
    """When the speech begins, in seconds."""
    end: float | None = None


@dataclass(frozen=True)
class DataSet:
    """Items under one name."""

    name: str
    items: tuple[Item, ...]
    n_without_text: int = 0
    """Recordings whose text is not known, which are not among the items."""

    def first(self, n_items: int) -> "DataSet":
        """The data set without the items after the first ones."""
        return replace(self, items=self.items[:n_items])


def data_set(name: str, records: Iterable[Mapping[str, Any]], *, folder: Path, place: str) -> DataSet:
    """The data set of these records, one per recording; paths in them are relative to `folder`.

    A record's audio may be an `ItemAudio` already. `place` names the data set in messages.

    Raises:
        DataSetError: a record lacks its recording, holds an impossible value, or none has a text.
    """
    items, n_records = [], 0
    taken: dict[str, int] = {}
    for n_records, record in enumerate(records, start=1):
        where = f"{place}, record {n_records}"
        text = _true_text(record, place=where)
        if text is None:
            continue
        item = _item(record, text, folder=folder, place=where)
        items.append(replace(item, id=f"{name}/{unique_name(item.audio, taken, mark='#')}"))
    if not items:
        raise DataSetError(
            f"{place} has no recording with a text, among {n_records}. "
            f"The text is looked for under: {', '.join(TEXT_FIELDS)}."
        )
    return DataSet(name, tuple(items), n_without_text=n_records - len(items))


def unique_name(name: str, taken: dict[str, int], *, mark: str) -> str:
    """`name`, or `name` with `mark` and the first number that tells it from all `taken`, which it joins."""
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}{mark}{taken[name]}"
    taken[found] = 1
    return found


def file_stamp(path: Path) -> str:
    """Path, size and time of a file, or its path alone where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: no file system has such a name
        return str(path.absolute())
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def _true_text(record: Mapping[str, Any], *, place: str) -> str | None:
    """What is said: empty for silence, None where it is not known."""
    text = _first(record, TEXT_FIELDS)
    if text is None:
        return "" if any(record.get(name) == "" for name in TEXT_FIELDS) else None
    if not isinstance(text, str):
        raise DataSetError(f"{place}: its text is {text!r:.80}. Expected a string, or null where it is not known.")
    return text


def _item(record: Mapping[str, Any], text: str, *, folder: Path, place: str) -> Item:
    audio, source = _audio(record, folder=folder, place=place)
    start, end = _times(record, folder=folder, place=place)
    task = _text(record, "task")
    if task not in (None, "transcribe", "translate"):
        raise DataSetError(f"{place}: the task is {task!r}; known are transcribe and translate.")
    return Item(
        id="",
        audio=audio,
        source=source,
        text=text,
        language=_language(record),
        speaker=_text(record, "speaker", "speaker_id"),
        subset=_text(record, "subset", "split"),
        task=task,
        start=start,
        end=end,
    )


def _audio(record: Mapping[str, Any], *, folder: Path, place: str) -> tuple[str, ItemAudio]:
    audio = _first(record, AUDIO_FIELDS)
    if isinstance(audio, Mapping):
        audio = audio.get("path")
    if isinstance(audio, ItemAudio):
        return str(audio), audio
    if not isinstance(audio, str) or not audio:
        raise DataSetError(f"{place} names no recording. Its path is looked for under: {', '.join(AUDIO_FIELDS)}.")
    if not _can_be_a_path(audio):
        raise DataSetError(f"{place}: no file can be called {audio!r:.80}. Give the path of its recording.")
    return audio, FileAudio(folder / audio)


def _can_be_a_path(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a character, which JSON can write
        return False


def _language(record: Mapping[str, Any]) -> str | None:
    """The code of the record's language; one that Whisper does not know stays as it is."""
    name = _first(record, LANGUAGE_FIELDS)
    if not isinstance(name, str) or not name:  # some tables number their languages
        return None
    try:
        return language_code(name)
    except OptionError:
        short = name.replace("_", "-").partition("-")[0]  # en-US, pt_br
    try:
        return language_code(short)
    except OptionError:
        return short.lower()


def _times(record: Mapping[str, Any], *, folder: Path, place: str) -> tuple[float, float] | tuple[None, None]:
    """When the speech begins and ends, from the first and last of its segments or told outright."""
    segments = record.get("segments")
    if isinstance(segments, str) and segments:
        segments = _segments_file(folder / segments, place)
    try:
        if isinstance(segments, Sequence) and segments:
            start, end = _bound(segments[0], "start", 0), _bound(segments[-1], "end", 1)
        elif record.get("start") not in (None, "") and record.get("end") not in (None, ""):
            start, end = float(record["start"]), float(record["end"])
        else:
            return None, None
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise DataSetError(f"{place}: its times are not numbers of seconds ({error!r}).") from error
    if not (0 <= start <= end and math.isfinite(end)):
        raise DataSetError(
            f"{place}: its speech begins at {start} and ends at {end} s. Expected 0 ≤ start ≤ end, both finite."
        )
    return start, end


def _bound(segment: Any, name: str, index: int) -> float:
    return float(segment[name] if isinstance(segment, Mapping) else segment[index])


def _segments_file(path: Path, place: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataSetError(f"{place}: its segments {str(path)!r} cannot be read: {error}.") from error


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first value that says something: tables leave cells empty where another column has the answer."""
    values = (record.get(name) for name in names)
    return next((value for value in values if value is not None and value != ""), None)


def _text(record: Mapping[str, Any], *names: str) -> str | None:
    value = _first(record, names)
    return None if value is None else str(value)
