"""A piece of work as a drawing: a bar for each program, the warm runs above, the way to the first text below.

    onnxruntime float32   ▇▇▇▇▇▇▇─┤               warm: median, and up to the 90th percentile
    jax float32           ▇▇▇▇▇▇▇▇▇▇▇▇─┤
                          0      1      2 s

    onnxruntime float32   ▒▒▒░░░░▇▇▇              imports, loading, compiling, running for the first time
    jax float32           ▒▒▒▒▒▒▒▒▒▒░░░░░░░▇▇▇

Positions across are per cent of the width, as in the other drawings, so that letters keep their size.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from stagewhisper.evaluation.page_markup import Html, tag

if TYPE_CHECKING:
    from stagewhisper.benchmarking import Result

_LEFT, _RIGHT = 30.0, 96.0
"""Per cent of the width between which bars lie; names are to the left."""
_ROW, _BAR, _AXIS = 26, 14, 24
"""Pixels."""
_TICKS = 5

Bars = Sequence[tuple[str, float]]
"""Class and seconds of each part of a bar."""


def warm_chart(results: "Sequence[Result]") -> Html:
    """The median of the warm runs of each, with a line to the 90th percentile."""
    longest = max(result.p90 for result in results)
    svg = _drawing(results, lambda result: [("bar", result.median)], longest, whiskers=True, title="Warm runs")
    caption = "Warm runs: bars are medians, lines reach to the 90th percentile; seconds, shorter is better."
    return tag("figure", svg, tag("figcaption", caption, class_="note"))


def start_chart(results: "Sequence[Result]") -> Html:
    """From nothing to the first text, in its parts."""
    longest = max(sum(seconds for _, seconds in start_parts(result)) for result in results)
    svg = _drawing(results, start_parts, longest, whiskers=False, title="From nothing to the first text")
    legend = (tag("span", name, class_=f"key {name}") for name in ("imports", "load", "compile", "first"))
    caption = tag("figcaption", "From nothing to the first text, seconds: ", *legend, class_="note")
    return tag("figure", svg, caption)


def start_parts(result: "Result") -> Bars:
    """Seconds of each part, one after the other; what is compiled within the first run is counted once."""
    compiling = result.compile or 0.0
    first = result.first or 0.0
    is_within = result.point.engine == "jax"
    return [
        ("imports", result.imports or 0.0),
        ("load", result.load or 0.0),
        ("compile", compiling),
        ("first", max(0.0, first - compiling) if is_within else first),
    ]


def _drawing(
    results: "Sequence[Result]", bars: "Callable[[Result], Bars]", longest: float, *, whiskers: bool, title: str
) -> Html:
    step = _step(longest)
    end = step * max(1, math.ceil(longest / step))
    base = _ROW * len(results)
    parts = [*_grid(step, end, base)]
    for row, result in enumerate(results):
        parts += _row(result, bars(result), y=row * _ROW, end=end, with_whisker=whiskers)
    return tag("svg", *parts, height=base + _AXIS, role="img", aria_label=f"{title} of {len(results)} programs.")


def _row(result: "Result", bars: Bars, *, y: int, end: float, with_whisker: bool) -> Iterator[Html]:
    yield tag("text", result.point.label, x=f"{_LEFT - 1}%", y=y + _ROW // 2 + 4, class_="right")
    position = 0.0
    for name, seconds in bars:
        start, width = _across(position, end), (_RIGHT - _LEFT) * seconds / end
        told = tag("title", f"{result.point.label}: {name} {seconds:.3g} s")
        top = y + (_ROW - _BAR) // 2
        yield tag("rect", told, class_=name, x=f"{start:.2f}%", y=top, width=f"{width:.2f}%", height=_BAR)
        position += seconds
    if with_whisker:
        ends = {"x1": f"{_across(result.median, end):.2f}%", "x2": f"{_across(result.p90, end):.2f}%"}
        yield tag("line", class_="spread", y1=y + _ROW // 2, y2=y + _ROW // 2, **ends)


def _grid(step: float, end: float, base: int) -> Iterator[Html]:
    for index in range(round(end / step) + 1):
        x = f"{_across(index * step, end):.2f}%"
        yield tag("line", class_="grid", x1=x, x2=x, y1=0, y2=base)
        yield tag("text", f"{index * step:.4g}", x=x, y=base + 16)


def _across(seconds: float, end: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * seconds / end


def _step(longest: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(longest, 1e-6) / _TICKS))
    return next(step * power for step in (1, 2, 5, 10) if step * power * _TICKS >= longest * (1 - 1e-9))
