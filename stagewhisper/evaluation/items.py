"""A data set: recordings whose true text is known.

Different makers call the same thing by different names; the lists below hold those in use.
"""

import json
from collections import Counter
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
    seen: Counter[str] = Counter()
    for n_records, record in enumerate(records, start=1):
        text = _first(record, TEXT_FIELDS)
        if text is None:
            continue
        item = _item(record, str(text), folder=folder, place=f"{place}, record {n_records}")
        seen[item.audio] += 1
        suffix = f"#{seen[item.audio]}" if seen[item.audio] > 1 else ""
        items.append(replace(item, id=f"{name}/{item.audio}{suffix}"))
    if not items:
        raise DataSetError(
            f"{place} has no recording with a text, among {n_records}. "
            f"The text is looked for under: {', '.join(TEXT_FIELDS)}."
        )
    return DataSet(name, tuple(items), n_without_text=n_records - len(items))


def file_stamp(path: Path) -> str:
    """Path, size and time of a file, or its path alone where there is none."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute())
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


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
    if isinstance(audio, str) and audio:
        return audio, FileAudio(folder / audio)
    if isinstance(audio, ItemAudio):
        return str(audio), audio
    raise DataSetError(f"{place} names no recording. Its path is looked for under: {', '.join(AUDIO_FIELDS)}.")


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
            return _bound(segments[0], "start", 0), _bound(segments[-1], "end", 1)
        if record.get("start") not in (None, "") and record.get("end") not in (None, ""):
            return float(record["start"]), float(record["end"])
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise DataSetError(f"{place}: its times are not numbers of seconds ({error!r}).") from error
    return None, None


def _bound(segment: Any, name: str, index: int) -> float:
    return float(segment[name] if isinstance(segment, Mapping) else segment[index])


def _segments_file(path: Path, place: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataSetError(f"{place}: its segments {str(path)!r} cannot be read: {error}.") from error


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _text(record: Mapping[str, Any], *names: str) -> str | None:
    value = _first(record, names)
    return None if value is None or value == "" else str(value)
