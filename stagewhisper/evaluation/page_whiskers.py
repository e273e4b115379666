"""The chart in the table of groups: a dot for each word error rate, a line for its 95 % interval.

    0     5     10     15 %    axis, in the table's head
    │   ├──●──┊───┤            whisker, one per row; ┊ is the rate of all clips

The table's cells beside it give the same numbers as text, so readers of the page's sound lose nothing.
"""

from collections.abc import Sequence

from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_scale import Scale

_ROW_HEIGHT = 44
"""As in `page.css`, so that the grid's lines meet from row to row."""
_MIDDLE = _ROW_HEIGHT / 2


def axis(scale: Scale) -> Html:
    """The scale's ticks in per cent."""
    labels = (tag("text", _tick_text(tick, scale), x=scale.position(tick), y=11) for tick in scale.ticks)
    drawing = tag("svg", *labels, class_="axis", height=14, aria_hidden="true")
    return joined((tag("span", "Word error rate with its 95 % interval", class_="hidden"), drawing))


def whisker(rate: float | None, interval: Sequence[float] | None, *, scale: Scale, mark: float | None) -> Html:
    """One row's rate on its interval, over the scale's grid; `mark` is the rate to compare it with."""
    grid = [_vertical(scale.position(tick), 0, _ROW_HEIGHT, "grid") for tick in scale.ticks]
    if mark is not None:
        grid.append(_vertical(scale.position(mark), 0, _ROW_HEIGHT, "mark"))
    return tag("svg", *grid, *_marks(rate, interval, scale), height=_ROW_HEIGHT, aria_hidden="true")


def _marks(rate: float | None, interval: Sequence[float] | None, scale: Scale) -> list[Html]:
    marks = []
    if interval is not None:
        low, high = (scale.position(bound) for bound in interval)
        marks.append(tag("line", class_="whisker", x1=low, x2=high, y1=_MIDDLE, y2=_MIDDLE))
        marks.append(_vertical(low, _MIDDLE - 4, _MIDDLE + 4, "whisker"))
        if interval[1] <= scale.end:  # else the line has no end to show
            marks.append(_vertical(high, _MIDDLE - 4, _MIDDLE + 4, "whisker"))
    if rate is not None:
        beyond = rate > scale.end
        marks.append(tag("circle", class_="beyond" if beyond else "dot", cx=scale.position(rate), cy=_MIDDLE, r=4.5))
    return marks


def _vertical(x: str, top: float, bottom: float, kind: str) -> Html:
    return tag("line", class_=kind, x1=x, x2=x, y1=top, y2=bottom)


def _tick_text(tick: float, scale: Scale) -> str:
    return f"{100 * tick:g} %" if tick == scale.ticks[-1] else f"{100 * tick:g}"
