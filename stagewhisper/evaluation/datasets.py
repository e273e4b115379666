"""Find out which form a data set has, and read it.

manifest.jsonl, metadata.jsonl ──► one JSON object a line ─┐
metadata.json (WhisperKit) ──────► a list or a map ────────┤
metadata.csv (audiofolder) ──────► a table with a header ──┼─► records ─► items.data_set
*.arrow, *.parquet ──────────────► tables.table_records ───┘
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stagewhisper.errors import DataSetError
from stagewhisper.evaluation.items import AUDIO_FIELDS, TEXT_FIELDS, DataSet, data_set, unique_name
from stagewhisper.evaluation.tables import is_hidden, saved_tables, table_records

Records = Iterable[Mapping[str, Any]]

_LISTS = ("manifest.jsonl", "metadata.jsonl", "metadata.json", "metadata.csv")
_PLAIN_STEMS = ("manifest", "metadata")  # say nothing, so the folder gives the data set its name


def load_datasets(paths: Sequence[str | Path], *, limit: int | None = None) -> tuple[DataSet, ...]:
    """The data sets at these paths, at most `limit` items of each; a name that occurs again gets a number.

    Raises what `load_dataset` raises.
    """
    loaded = [load_dataset(path) for path in paths]
    taken: dict[str, int] = {}
    named = [_renamed(dataset, unique_name(dataset.name, taken, mark="-")) for dataset in loaded]
    return tuple(named if limit is None else [dataset.first(limit) for dataset in named])


def load_dataset(path: str | Path) -> DataSet:
    """The data set at `path`: a manifest, or a folder in one of the forms at the top of this file.

    Recordings are opened only when they are transcribed. Items whose text is null are left out and counted; an empty
    text means that nothing is said.

    Raises:
        DataSetError: there is nothing, it has none of these forms, or it is damaged.
        StagewhisperError: it is a table, and pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir():
        return data_set(path.resolve().name, _folder_records(path), folder=path, place=repr(str(path)))
    if not path.is_file():
        raise DataSetError(f"There is no data set {str(path)!r}. Name a manifest (.jsonl) or a folder.")
    name = path.resolve().parent.name if path.stem in _PLAIN_STEMS else path.stem
    return data_set(name, _file_records(path), folder=path.parent, place=repr(str(path)))


def _renamed(dataset: DataSet, name: str) -> DataSet:
    items = (replace(item, id=name + item.id.removeprefix(dataset.name)) for item in dataset.items)
    return replace(dataset, name=name, items=tuple(items))


def _folder_records(folder: Path) -> Records:
    for name in _LISTS:
        if (folder / name).is_file():
            return _file_records(folder / name)
    tables = saved_tables(folder)
    if tables:
        return (record for table, split in tables for record in table_records(table, subset=split, folder=folder))
    lists = [file for name in _LISTS for file in sorted(folder.glob(f"*/{name}")) if not is_hidden(file, folder)]
    if lists:
        return (_within(record, file.parent.name) for file in lists for record in _file_records(file))
    raise DataSetError(
        f"The folder {str(folder)!r} is no data set. Expected one of {', '.join(_LISTS)} in it or in its sub-folders, "
        "or tables of Hugging Face's datasets (*.parquet, *.arrow)."
    )


def _within(record: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The record of a sub-folder as one of the folder: its paths longer, the sub-folder its subset."""
    moved = {name: _moved(record[name], folder) for name in (*AUDIO_FIELDS, "segments") if name in record}
    return {"subset": folder, **record, **moved}


def _moved(value: Any, folder: str) -> Any:
    """A path, or a table's {"path": …}, seen from the folder above `folder`; anything else as it is."""
    if isinstance(value, Mapping) and "path" in value:
        return {**value, "path": _moved(value["path"], folder)}
    is_relative = isinstance(value, str) and value != "" and not Path(value).is_absolute()
    return f"{folder}/{value}" if is_relative else value


def _file_records(path: Path) -> Records:
    readers: dict[str, Callable[[Path], Iterable[Any]]] = {
        ".jsonl": _json_lines,
        ".json": _json_document,
        ".csv": _csv_rows,
        ".parquet": table_records,
        ".arrow": table_records,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataSetError(f"{str(path)!r} is no data set: its name should end with {', '.join(readers)}.")
    return _reported(reader(path), path)


def _reported(records: Iterable[Any], path: Path) -> Iterator[Mapping[str, Any]]:
    """The records; what cannot be read becomes our error."""
    try:
        for number, record in enumerate(records, start=1):
            if not isinstance(record, Mapping):
                raise DataSetError(
                    f"{str(path)!r}, record {number}: expected an object with names, got {record!r:.80}."
                )
            yield record
    except (OSError, ValueError, RecursionError, csv.Error) as error:  # ValueError: no JSON, no UTF-8
        raise DataSetError(f"The data set {str(path)!r} cannot be read: {error}. Check that it is complete.") from error


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
                    raise DataSetError(f"{str(path)!r}, line {number} is no JSON: {error}.") from error


def _json_document(path: Path) -> Iterator[Any]:
    """WhisperKit's metadata.json: a list of records, or a map from recordings to texts or records."""
    document = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(document, Mapping):
        yield from (_from_pair(audio, value) for audio, value in document.items())
    elif isinstance(document, list):
        yield from document
    else:
        raise DataSetError(f"{str(path)!r} should hold a list or a map of recordings, not {document!r:.80}.")


def _from_pair(audio: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return value if any(field in value for field in AUDIO_FIELDS) else {AUDIO_FIELDS[0]: audio, **value}
    return {AUDIO_FIELDS[0]: audio, TEXT_FIELDS[0]: value} if value is None or isinstance(value, str) else value


def _csv_rows(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)
