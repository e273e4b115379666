"""How the word error rates of the clips with errors are spread: a column for each ten per cent.

    ▇
    ▇  ▃ ▂ ▁ ▁   ▁  those with more errors than words stand apart on the right
    ≤10 …     >100

The clips without an error are many, as a rule; they are told in words, lest they flatten all others.
"""

from collections.abc import Iterable
from math import ceil

from stagewhisper.evaluation.page_markup import Html, tag
from stagewhisper.evaluation.page_numbers import count, counted, percent

_LABELS = (*(f"≤{bound}" for bound in range(10, 101, 10)), ">100")
_BIN_WIDTH = 100 / 11.3  # of 11 columns, and of a gap before the last of them
_GAP = 0.3 * _BIN_WIDTH
_TOP, _BASE, _HEIGHT = 16, 150, 170


def histogram(rates: Iterable[float]) -> Html:
    """A sentence on the clips without an error, and a drawing of how many of the others are in each column."""
    n_perfect, counts = counts_by_rate(rates)
    n_clips = n_perfect + sum(counts)
    perfect = (count(n_perfect), " of ", counted(n_clips, "clip"), " with words (", percent(n_perfect / n_clips), ")")
    told = tag("p", *perfect, " have no error." if not any(counts) else " have no error. The others:")
    if not any(counts):
        return tag("figure", told)
    caption = tag("figcaption", "Clips with errors, by word error rate in per cent.", class_="note")
    return tag("figure", told, _drawing(counts), caption)


def counts_by_rate(rates: Iterable[float]) -> tuple[int, tuple[int, ...]]:
    """How many rates are 0; and how many of the others lie in each tenth, its upper end included, and above 1."""
    counts = [0] * (1 + len(_LABELS))
    for rate in rates:
        # Rates are fractions of small numbers: 3/10 must not fall beyond 0.3 for the sake of its last bit.
        counts[min(ceil(10 * rate - 1e-9), len(_LABELS))] += 1
    return counts[0], tuple(counts[1:])


def _drawing(counts: tuple[int, ...]) -> Html:
    columns = (_column(index, number, max(counts)) for index, number in enumerate(counts))
    base = tag("line", class_="base", x1="0%", x2="100%", y1=_BASE, y2=_BASE)
    told = "; ".join(f"{label} %: {number:,}" for label, number in zip(_LABELS, counts, strict=True) if number)
    return tag("svg", *columns, base, height=_HEIGHT, role="img", aria_label=f"Clips by word error rate. {told}.")


def _column(index: int, number: int, highest: int) -> Html:
    left = index * _BIN_WIDTH + _GAP * (index == len(_LABELS) - 1)
    middle = f"{left + _BIN_WIDTH / 2:.2f}%"
    label = tag("text", _LABELS[index], x=middle, y=_HEIGHT - 5)
    if not number:
        return label
    top = round(min(_BASE - (_BASE - _TOP) * number / highest, _BASE - 2), 1)
    x, width = f"{left + 0.06 * _BIN_WIDTH:.2f}%", f"{0.88 * _BIN_WIDTH:.2f}%"
    bar = tag("rect", class_="bar", x=x, width=width, y=top, height=round(_BASE - top, 1), rx=2)
    return tag("g", bar, tag("text", f"{number:,}", x=middle, y=top - 5, class_="count"), label)
