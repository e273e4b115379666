"""The times of a phase's operators as a table with bars: one for each bundle, on one scale."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_numbers import ABSENT

_BAR, _GAP = 9, 2
"""Height of a bar and of the space below it, in pixels."""


def operator_table(phases: Sequence[Mapping[str, Any]]) -> Html:
    """A row for each type of operator of any phase, those that take longest first."""
    head = ["Operator", *(["Count", "ms", "Share"] * len(phases)), *(["Before / after"] if len(phases) > 1 else []), ""]
    top = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in head)))
    table = tag("table", top, tag("tbody", *_rows(phases)), class_="operators")
    label = f"Operators of {phases[0]['name']}"
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)


def _rows(phases: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    by_phase = [{operator["op_type"]: operator for operator in phase["operators"]} for phase in phases]
    longest: dict[str, float] = {}
    for operators in by_phase:
        for op_type, operator in operators.items():
            longest[op_type] = max(operator["elapsed"], longest.get(op_type, 0.0))
    scale = max(longest.values(), default=0.0)
    for op_type in sorted(longest, key=lambda op_type: (-longest[op_type], op_type)):
        found = [operators.get(op_type) for operators in by_phase]
        times = [None if operator is None else operator["elapsed"] for operator in found]
        cells = joined(_cells(operator) for operator in found)
        yield tag("tr", tag("th", op_type, scope="row"), cells, _ratio(times), _bars(times, scale))
    totals = [sum(operator["elapsed"] for operator in phase["operators"]) for phase in phases]
    counts = [len(phase["nodes"]) for phase in phases]
    cells = joined(_numbers(count, total, 1.0) for count, total in zip(counts, totals, strict=True))
    yield tag("tr", tag("th", "all", scope="row"), cells, _ratio(totals), tag("td"), class_="total")


def _cells(operator: Mapping[str, Any] | None) -> Html:
    if operator is None:
        return joined((tag("td", "0"), tag("td", ABSENT), tag("td", ABSENT)))
    return _numbers(operator["count"], operator["elapsed"], operator["share"])


def _numbers(count: int, elapsed: float, share: float) -> Html:
    return joined((tag("td", f"{count}"), tag("td", f"{1e3 * elapsed:.3f}"), tag("td", f"{100 * share:.1f} %")))


def _ratio(times: Sequence[float | None]) -> Html | None:
    if len(times) < 2:
        return None
    before, after = times
    return tag("td", ABSENT if before is None or not after else f"{before / after:.2f}")


def _bars(times: Sequence[float | None], scale: float) -> Html:
    bars = (
        tag(
            "rect",
            class_="bar before" if index < len(times) - 1 else "bar",
            x=0,
            y=index * (_BAR + _GAP),
            width=f"{100 * elapsed / scale:.2f}%",
            height=_BAR,
            rx=1.5,
        )
        for index, elapsed in enumerate(times)
        if elapsed is not None and scale
    )
    # The numbers stand beside it: nothing is told by the bars alone.
    return tag("td", tag("svg", *bars, height=len(times) * (_BAR + _GAP) - _GAP, aria_hidden="true"), class_="bars")
