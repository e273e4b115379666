"""Tables of Hugging Face's `datasets`: Arrow as `save_to_disk` writes it, and Parquet as the hub stores it.

The recordings inside stay on the disk until they are transcribed.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from stagewhisper.errors import AudioError, DataSetError
from stagewhisper.evaluation.items import AUDIO_FIELDS, file_stamp
from stagewhisper.evaluation.packages import needed


@dataclass(frozen=True)
class TableAudio:
    """A recording in a table: the bytes of a file, or its path."""

    table: Path
    column: str
    row: int
    folder: Path
    """Where paths in the table begin."""
    name: str = field(compare=False)

    def __str__(self) -> str:
        return self.name

    def read(self) -> Path | bytes:
        """The bytes of the recording, or its path where the table has no bytes."""
        cell = _column(self.table, self.column)[self.row].as_py()
        if isinstance(cell, Mapping):
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, str) and cell:
            return self.folder / cell
        if isinstance(cell, bytes):
            return cell
        raise AudioError(f"{self.name} has neither bytes nor a path in {str(self.table)!r}. Save the data set again.")

    def stamp(self) -> str:
        """Path, size and time of the table, and the row."""
        return f"{file_stamp(self.table)} {self.row}"


def saved_tables(folder: Path) -> list[tuple[Path, str | None]]:
    """The tables of a data set in `folder`, each with its split; none where there is no such data set.

    Raises:
        DataSetError: a `state.json` that should name the tables is damaged.
    """
    splits = [
        path for path in sorted(folder.glob("*")) if (path / "state.json").is_file() and not is_hidden(path, folder)
    ]
    if (folder / "state.json").is_file():
        return [(table, None) for table in _named_in_state(folder)]
    if splits:
        return [(table, split.name) for split in splits for table in _named_in_state(split)]
    tables = sorted(
        path for path in (*folder.rglob("*.parquet"), *folder.glob("*.arrow")) if not is_hidden(path, folder)
    )
    # The hub calls them test-00000-of-00001.parquet.
    return [(table, table.stem.partition("-")[0] if "-of-" in table.stem else None) for table in tables]


def table_records(path: Path, *, subset: str | None = None, folder: Path | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a table, each recording as a `TableAudio`.

    Raises:
        DataSetError: the table cannot be read.
        StagewhisperError: pyarrow is not installed.
    """
    schema = _schema(path)
    column = next((name for name in AUDIO_FIELDS if name in schema.names), None)
    if column is None:
        raise DataSetError(f"{str(path)!r} has no column of recordings. Expected one of: {', '.join(AUDIO_FIELDS)}.")
    names = _recording_names(path, schema.field(column))
    others = _table(path, [name for name in schema.names if name != column]).to_pylist()
    for row, (name, other) in enumerate(zip(names, others, strict=True)):
        audio = TableAudio(path, column, row, folder or path.parent, name or f"{path.stem}:{row}")
        yield {"subset": subset, **other, column: audio}


def _recording_names(path: Path, column: Any) -> list[str | None]:
    """The paths in the column, without reading the bytes beside them."""
    pa, pc = needed("pyarrow", install="pyarrow"), needed("pyarrow.compute", install="pyarrow")
    if pa.types.is_struct(column.type) and column.type.get_field_index("path") >= 0:
        wanted = f"{column.name}.path" if path.suffix == ".parquet" else column.name
        return list(pc.struct_field(_table(path, [wanted])[column.name], "path").to_pylist())
    table = _table(path, [column.name])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return list(table[column.name].to_pylist())
    return [None] * int(table.num_rows)


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether `path` lies in `folder` under a name with a dot: what other programs keep there, such as .cache/."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _named_in_state(folder: Path) -> list[Path]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [folder / file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataSetError(f"{str(folder / 'state.json')!r} does not name the tables beside it: {error!r}.") from error


@lru_cache(maxsize=1)
def _column(path: Path, column: str) -> Any:
    return _table(path, [column])[column]


def _schema(path: Path) -> Any:
    if path.suffix == ".parquet":
        with _reading(path):
            return needed("pyarrow.parquet", install="pyarrow").read_schema(path)
    return _arrow_table(path).schema


def _table(path: Path, columns: list[str]) -> Any:
    if path.suffix == ".parquet":
        with _reading(path), needed("pyarrow.parquet", install="pyarrow").ParquetFile(path) as file:
            return file.read(columns=columns)
    return _arrow_table(path).select(columns)


def _arrow_table(path: Path) -> Any:
    """The table, mapped into memory, whichever of Arrow's two formats it has; `save_to_disk` writes streams."""
    pa = needed("pyarrow", install="pyarrow")
    with _reading(path):
        source = pa.memory_map(str(path))
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_file(source).read_all()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, needed("pyarrow", install="pyarrow").ArrowException) as error:
        raise DataSetError(f"The table {str(path)!r} cannot be read: {error}. Save the data set again.") from error
