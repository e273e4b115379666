"""The roofline as a drawing: operations per second over operations per byte, both in steps of ten.

    GFLOP/s │        ╭───────── fp32        a point under the slope is held up by memory,
            │    ╱ ● encoder                one under the roof by arithmetic
            │  ╱
            │╱ ● step
            └──────────────── FLOP/byte

Positions across are per cent of the width, as in the other drawings, so that letters keep their size.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model".
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagewhisper.evaluation.page_markup import Html, joined, tag

_TOP, _BASE, _HEIGHT, _LEFT = 12, 300, 330, 8.0
"""Pixels from the top, and per cent of the width that the labels of the left axis take."""
_LINE, _LABEL_WIDTH = 13, 20.0
"""Pixels of a line of text, and per cent of the width that a phase's name may take."""


@dataclass(frozen=True)
class _Axes:
    """Powers of ten at both ends of both axes."""

    x: tuple[int, int]
    y: tuple[int, int]

    def across(self, intensity: float) -> float:
        low, high = self.x
        return _LEFT + (100 - _LEFT) * (math.log10(intensity) - low) / (high - low)

    def down(self, rate: float) -> float:
        low, high = self.y
        return _BASE - (_BASE - _TOP) * (math.log10(rate) - low) / (high - low)


def roofline_chart(document: Mapping[str, Any]) -> Html:
    """The machine's roofs, and a point for each phase of each bundle."""
    rates = {name: rate / 1e9 for name, rate in document["rates"].items()}
    points = [
        (phase, index < len(document["bundles"]) - 1)
        for index, bundle in enumerate(document["bundles"])
        for phase in bundle["phases"]
        if phase["floor"]["intensity"] > 0
    ]
    axes = _axes([_place(phase) for phase, _ in points], rates)
    dots = (_dot(axes, phase, is_before) for phase, is_before in points)
    labels = _labels(axes, [phase for phase, is_before in points if not is_before])
    drawing = (*_grid(axes), *_roofs(axes, rates), *dots, *labels)
    told = "; ".join(f"{phase['name']}: {_place(phase)[1]:.3g} GFLOP/s" for phase, _ in points)
    svg = tag("svg", *drawing, height=_HEIGHT, role="img", aria_label=f"Roofline. {told}.")
    caption = "Operations per second (GFLOP/s, upwards) over operations per byte moved (to the right)."
    before = " Grey: before; coloured: after." if len(document["bundles"]) > 1 else ""
    return tag("figure", svg, tag("figcaption", f"{caption}{before}", class_="note"))


def _place(phase: Mapping[str, Any]) -> tuple[float, float]:
    return phase["floor"]["intensity"], phase["floor"]["flops_rate"] / 1e9


def _axes(places: Sequence[tuple[float, float]], rates: Mapping[str, float]) -> _Axes:
    """Whole powers of ten around all points, the roofs and both ridges."""
    ridges = [rates["fp32"] / rates["bandwidth"], rates["int8"] / rates["bandwidth"]]
    across = [intensity for intensity, _ in places] + ridges
    up = [rate for _, rate in places] + [rates["fp32"], rates["int8"]]
    return _Axes(_powers(across), _powers(up))


def _powers(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _grid(axes: _Axes) -> Iterator[Html]:
    for power in range(axes.x[0], axes.x[1] + 1):
        x = f"{axes.across(10.0**power):.2f}%"
        yield tag("line", class_="grid", x1=x, x2=x, y1=_TOP, y2=_BASE)
        yield tag("text", f"{10.0**power:g}", x=x, y=_BASE + 18, class_="right" if power == axes.x[1] else None)
    for power in range(axes.y[0], axes.y[1] + 1):
        y = round(axes.down(10.0**power), 1)
        yield tag("line", class_="grid", x1=f"{_LEFT}%", x2="100%", y1=y, y2=y)
        yield tag("text", f"{10.0**power:g}", x=f"{_LEFT - 1}%", y=y + 4, class_="right")


def _roofs(axes: _Axes, rates: Mapping[str, float]) -> Iterator[Html]:
    for name, title in (("fp32", "fp32"), ("int8", "int8")):
        ridge, y = rates[name] / rates["bandwidth"], round(axes.down(rates[name]), 1)
        x = f"{axes.across(ridge):.2f}%"
        yield tag("line", class_=f"roof {name}", x1=x, x2="100%", y1=y, y2=y)
        yield tag("text", f"{title} {rates[name]:.0f}", x="100%", y=y - 5, class_="right")
    yield _slope(axes, rates)


def _slope(axes: _Axes, rates: Mapping[str, float]) -> Html:
    """Bandwidth: from where it meets the left or the lower edge to the higher ridge."""
    begin = max(10.0 ** axes.x[0], 10.0 ** axes.y[0] / rates["bandwidth"])
    end = max(rates["fp32"], rates["int8"]) / rates["bandwidth"]
    line = tag(
        "line",
        class_="roof",
        x1=f"{axes.across(begin):.2f}%",
        y1=round(axes.down(begin * rates["bandwidth"]), 1),
        x2=f"{axes.across(end):.2f}%",
        y2=round(axes.down(end * rates["bandwidth"]), 1),
    )
    middle = math.sqrt(begin * end)
    y = round(axes.down(middle * rates["bandwidth"]) - 8, 1)
    label = tag("text", f"{rates['bandwidth']:.1f} GB/s", x=f"{axes.across(middle):.2f}%", y=y, class_="right")
    return joined((line, label))


def _dot(axes: _Axes, phase: Mapping[str, Any], is_before: bool) -> Html:
    intensity, rate = _place(phase)
    told = tag("title", f"{phase['name']}: {rate:.3g} GFLOP/s at {intensity:.3g} FLOP/byte")
    x, y = f"{axes.across(intensity):.2f}%", round(axes.down(rate), 1)
    return tag("circle", told, class_="point before" if is_before else "point", cx=x, cy=y, r=5)


def _labels(axes: _Axes, phases: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    """The phases' names beside their points, one below the other where points lie together."""
    taken: list[tuple[float, float]] = []
    for phase in phases:
        intensity, rate = _place(phase)
        x, y = axes.across(intensity), axes.down(rate) + 4
        while any(abs(x - other) < _LABEL_WIDTH and abs(y - above) < 0.8 * _LINE for other, above in taken):
            y += _LINE
        taken.append((x, y))
        side, place = ("right", x - 1.2) if x > 100 - _LABEL_WIDTH else ("left", x + 1.2)
        yield tag("text", phase["name"], x=f"{place:.2f}%", y=round(y, 1), class_=side)
