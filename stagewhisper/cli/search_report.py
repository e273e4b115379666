"""What a search found, as lines for people: the front as a table, and where everything is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stagewhisper.cli.text_table import table_lines

if TYPE_CHECKING:
    from stagewhisper.compiler.search import Found
    from stagewhisper.compiler.search_footprint import Record


def search_lines(found: "Found", folder: Path) -> Iterator[str]:
    """The reference and the front, the best point marked; then the counts and the files."""
    keys = list(dict.fromkeys(axis.key for axis in found.goals.axes))
    rows: list[Sequence[str]] = [["", *keys]]
    for name, record in found.references.items():
        rows.append([f"{name} (reference)", *_cells(record, keys)])
    objective = next(axis.key for axis in found.goals.axes if axis.is_best)
    for record in sorted(found.front, key=lambda record: record.metrics[objective]):
        mark = "* " if record is found.best else ""
        rows.append([f"{mark}{values_told(record)}", *_cells(record, keys)])
    yield from table_lines(rows)
    failed = sum(not record.is_done for record in found.points)
    yield ""
    yield f"{len(found.points)} points, {failed} failed, {len(found.front)} on the front" + (
        "; * is the best that keeps to the limits" if found.best is not None else ""
    )
    for name in ("footprint.jsonl", "front.json", "front.html", *(["best.yaml", "best"] if found.best else [])):
        yield str(folder / name)


def told(record: "Record") -> str:
    """A point and what came of it, on one line."""
    if not record.is_done:
        return f"{values_told(record)}: failed. {record.reason}"
    return f"{values_told(record)}: {', '.join(f'{key} {value:.4g}' for key, value in record.metrics.items())}"


def values_told(record: "Record") -> str:
    """The values of a point's choices."""
    from stagewhisper.compiler.search_space import shown

    return ", ".join(f"{name} {shown(value)}" for name, value in record.choices.items())


def _cells(record: "Record", keys: Sequence[str]) -> list[str]:
    return [f"{record.metrics[key]:.4g}" if key in record.metrics else "–" for key in keys]
