"""Numbers as people read them, each beside the exact value for programs: `<data value="0.0423">4.23 %</data>`."""

from collections.abc import Sequence

from stagewhisper.evaluation.page_markup import Html, tag

ABSENT = "–"
"""Stands where a measure had nothing to judge by."""

_NBSP = "\N{NO-BREAK SPACE}"


def percent(share: float | None) -> Html:
    """A rate between 0 and 1, or above, in per cent."""
    return _data(share, ABSENT if share is None else f"{percent_digits(share)}{_NBSP}%")


def percent_digits(share: float) -> str:
    """The rate's digits: two decimals below 10 %, one above, none for nothing and for all."""
    value = 100 * share
    if value in (0.0, 100.0):
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def interval(bounds: Sequence[float] | None) -> Html:
    """Both ends of an interval of rates, or an empty text."""
    if bounds is None:
        return Html("")
    low, high = bounds
    return tag("span", _data(low, percent_digits(low)), "–", percent(high), class_="interval")


def count(number: int) -> Html:
    """A whole number with its thousands apart."""
    return _data(number, f"{number:,}")


def counted(number: int, noun: str) -> Html:
    """`3 clips`, `1 clip`."""
    return tag("span", count(number), f"{_NBSP}{noun}{'' if number == 1 else 's'}")


def plain(number: float | None) -> Html:
    """A number with three significant digits."""
    return _data(number, ABSENT if number is None else f"{number:.3g}" if abs(number) < 100 else f"{number:,.0f}")


def seconds(duration: float | None) -> Html:
    """A time in the units that suit its length."""
    return _data(duration, ABSENT if duration is None else _duration_text(duration))


def _duration_text(duration: float) -> str:
    whole = round(duration)
    if whole >= 3600:
        return f"{whole // 3600:,}{_NBSP}h {whole % 3600 // 60:02d}{_NBSP}min"
    if whole >= 60:
        return f"{whole // 60}{_NBSP}min {whole % 60:02d}{_NBSP}s"
    return f"{duration:.1f}{_NBSP}s" if duration >= 1 or duration == 0 else f"{duration:.2g}{_NBSP}s"


def _data(value: float | None, text: str) -> Html:
    return tag("span", text) if value is None else tag("data", text, value=repr(value))
