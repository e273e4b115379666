"""What the passes did to a graph, as data and as a table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Parameter = bool | int | float | str | None | Sequence[Any] | Mapping[str, Any]
"""What a recipe may set on a pass: whatever JSON can hold; the pass's own annotations say more."""


@dataclass(frozen=True)
class PassRecord:
    """What one pass did."""

    name: str
    rewrites: int
    seconds: float
    """Of the pass itself."""
    check_seconds: float
    """Of checking and comparing the graph after it."""
    ops_before: int
    ops_after: int
    bytes_before: int
    bytes_after: int
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    """Patterns of the parameters by which no layer was called when the pass began."""
    tolerance: float | None = None
    """Largest difference that was allowed; this and the rest are None or empty where nothing was compared."""
    difference: float | None = None
    """Largest difference that was found, as a share of the output's largest number, or of 1."""
    where: str = ""
    ms_before: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of every case, where they were measured."""
    ms_after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a list of passes did to one graph."""

    graph: str
    passes: tuple[PassRecord, ...]
    switched_off: tuple[str, ...]
    """Passes of the list that did not run because they were named so."""
    op_types_before: Mapping[str, int]
    op_types_after: Mapping[str, int]
    bytes_before: int
    bytes_after: int
    difference: float | None = None
    """From the graph before all passes, where it was compared."""
    where: str = ""
    allowed: float | None = None
    """How large the difference might have been."""
    ms_before: Mapping[str, float] = field(default_factory=dict)
    ms_after: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Report":
        """The report that `to_dict` gave."""
        passes = tuple(
            PassRecord(**{**record, "unmatched": tuple(record.get("unmatched", ()))}) for record in data["passes"]
        )
        return cls(**{**data, "passes": passes, "switched_off": tuple(data["switched_off"])})


def render_table(report: Report) -> str:
    """One line a pass: rewrites, operators, weights, time, and the largest difference; the last line sums up."""
    rows = [_header(report), *(_row(record, timed=bool(report.ms_before)) for record in report.passes), _total(report)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    off = f"\nswitched off: {', '.join(report.switched_off)}" if report.switched_off else ""
    return "\n".join([*lines[:-1], "─" * max(map(len, lines)), lines[-1]]) + off


def _header(report: Report) -> list[str]:
    timed = ["ms"] if report.ms_before else []
    return [report.graph, "rewrites", "operators", "weights, MB", *timed, "largest difference"]


def _row(record: PassRecord, *, timed: bool) -> list[str]:
    return [
        record.name,
        str(record.rewrites),
        _change(record.ops_before, record.ops_after, "d"),
        _change(record.bytes_before / 1e6, record.bytes_after / 1e6, ".1f"),
        *([_ms(record.ms_before, record.ms_after)] if timed else []),
        _found(record.difference, record.where),
    ]


def _total(report: Report) -> list[str]:
    return [
        "all",
        str(sum(record.rewrites for record in report.passes)),
        _change(sum(report.op_types_before.values()), sum(report.op_types_after.values()), "d"),
        _change(report.bytes_before / 1e6, report.bytes_after / 1e6, ".1f"),
        *([_ms(report.ms_before, report.ms_after)] if report.ms_before else []),
        _found(report.difference, report.where) + (f", {report.allowed:.1e} allowed" if report.allowed else ""),
    ]


def _change(before: float, after: float, form: str) -> str:
    old, new = format(before, form), format(after, form)
    return new if old == new else f"{old} → {new}"


def _ms(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    return _change(sum(before.values()), sum(after.values()), ".2f") if before and after else ""


def _found(difference: float | None, where: str) -> str:
    if difference is None:
        return ""
    return f"{difference:.1e} in {where}" if difference else "exact"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = cells
    middle = (cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
    return "  ".join([first.ljust(widths[0]), *middle, last]).rstrip()
