"""The points of a search as a drawing: what is wanted best to the right, what it costs upwards.

    wer │  ●╮
        │   ╰──●╮      ○ grey: other points     ◇ the reference
        │- - - -╰──●- - - - - - - - - - - - - - the limit
        │          ╰────●
        └──────────────────── window_ms

Positions across are per cent of the width, as in the other drawings, so that letters keep their size.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stagewhisper.evaluation.page_markup import Html, tag

_TOP, _BASE, _HEIGHT, _LEFT, _RIGHT = 12, 300, 346, 8.0, 98.0
"""Pixels from the top, and per cent of the width between which points lie."""
_TICKS = 5


@dataclass(frozen=True)
class _Scale:
    """Round numbers around the values."""

    low: float
    high: float
    step: float

    @property
    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + index * self.step for index in range(count + 1)]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def front_chart(document: Mapping[str, Any]) -> Html | None:
    """The points over the first two values that have a goal; None where fewer than two were measured."""
    keys = _keys(document)
    points = [point for point in document["points"] if point["state"] == "done"]
    if len(keys) < 2 or not points:
        return None
    across, up = keys
    references = {name: record for name, record in document["references"].items() if across in record["metrics"]}
    shown = [each["metrics"] for each in (*points, *references.values())]
    limits = {axis["key"]: axis["limit"] for axis in document["axes"] if axis["limit"] is not None}
    x = _scale([metrics[across] for metrics in shown])
    y = _scale([metrics[up] for metrics in shown] + ([limits[up]] if up in limits else []))
    front = sorted((p for p in points if p["on_front"]), key=lambda point: float(point["metrics"][across]))
    drawing = (
        *_grid(x, y),
        *_limit(y, limits.get(up)),
        *_steps([_place(x, y, point["metrics"], keys) for point in front]),
        *(_dot(_place(x, y, point["metrics"], keys), point, keys, document["best"]) for point in points),
        *(_reference(_place(x, y, record["metrics"], keys), name) for name, record in references.items()),
        tag("text", across, x="100%", y=_BASE + 36, class_="right"),
    )
    svg = tag("svg", *drawing, height=_HEIGHT, role="img", aria_label=f"{up} over {across} of {len(points)} points.")
    caption = (
        f"{up} (upwards) over {across} (to the right). Coloured: the front; ringed: the best that keeps to the limits; "
        "grey: other points; square: what limits are counted from; dashed: a limit."
    )
    return tag("figure", svg, tag("figcaption", caption, class_="note"))


def _keys(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What is best first, then another one with a goal, then any other that is measured."""
    axes = document["axes"]
    ordered = [
        *(axis["key"] for axis in axes if axis["goal"] == "best"),
        *(axis["key"] for axis in axes if axis["goal"] not in ("best", None)),
        *(axis["key"] for axis in axes),
    ]
    return tuple(dict.fromkeys([*ordered, "bundle_mb"]))[:2]


def _scale(values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    width = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(width / _TICKS))
    step = next(step * power for step in (1, 2, 5, 10) if step * power * _TICKS >= width)
    return _Scale(math.floor(low / step) * step, (math.floor(high / step) + 1) * step, step)


def _place(x: _Scale, y: _Scale, metrics: Mapping[str, float], keys: Sequence[str]) -> tuple[float, float]:
    """Per cent of the width, and pixels from the top."""
    across = _LEFT + (_RIGHT - _LEFT) * x.share(metrics[keys[0]])
    return across, _BASE - (_BASE - _TOP) * y.share(metrics[keys[1]])


def _grid(x: _Scale, y: _Scale) -> Iterator[Html]:
    for value in x.ticks:
        across = f"{_LEFT + (_RIGHT - _LEFT) * x.share(value):.2f}%"
        yield tag("line", class_="grid", x1=across, x2=across, y1=_TOP, y2=_BASE)
        yield tag("text", f"{value:.6g}", x=across, y=_BASE + 18)
    for value in y.ticks:
        down = round(_BASE - (_BASE - _TOP) * y.share(value), 1)
        yield tag("line", class_="grid", x1=f"{_LEFT}%", x2=f"{_RIGHT}%", y1=down, y2=down)
        yield tag("text", f"{value:.6g}", x=f"{_LEFT - 1}%", y=down + 4, class_="right")


def _limit(y: _Scale, limit: float | None) -> Iterator[Html]:
    if limit is not None:
        down = round(_BASE - (_BASE - _TOP) * y.share(limit), 1)
        yield tag("line", class_="mark", x1=f"{_LEFT}%", x2=f"{_RIGHT}%", y1=down, y2=down)
        yield tag("text", f"limit {limit:.4g}", x=f"{_RIGHT}%", y=down - 5, class_="right")


def _steps(places: Sequence[tuple[float, float]]) -> Iterator[Html]:
    """From point to point, across and then up or down: what lies beyond is better than all points."""
    for (x1, y1), (x2, y2) in pairwise(places):
        left, right = f"{x1:.2f}%", f"{x2:.2f}%"
        yield tag("line", class_="front", x1=left, x2=right, y1=round(y1, 1), y2=round(y1, 1))
        yield tag("line", class_="front", x1=right, x2=right, y1=round(y1, 1), y2=round(y2, 1))


def _dot(place: tuple[float, float], point: Mapping[str, Any], keys: Sequence[str], best: str | None) -> Html:
    values = ", ".join(f"{key} {point['metrics'][key]:.4g}" for key in keys)
    chosen = ", ".join(f"{name} {value}" for name, value in point["choices"].items())
    class_ = "point" if point["on_front"] else "point before"
    told = tag("title", f"{values}: {chosen}")
    return tag(
        "circle",
        told,
        class_=f"{class_} best" if point["recipe"] == best else class_,
        cx=f"{place[0]:.2f}%",
        cy=round(place[1], 1),
        r=7 if point["recipe"] == best else 5,
    )


def _reference(place: tuple[float, float], name: str) -> Html:
    return tag(
        "svg",
        tag("rect", tag("title", name), class_="reference", x=-5, y=-5, width=10, height=10),
        tag("text", name, x=9, y=4, class_="left"),
        x=f"{place[0]:.2f}%",
        y=round(place[1], 1),
    )
