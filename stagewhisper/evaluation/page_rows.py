"""The table of groups, with a chart in it: each row's word error rate as a dot on its 95 % interval."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_numbers import ABSENT, count, interval, percent, plain
from stagewhisper.evaluation.page_scale import Scale, scale_for
from stagewhisper.evaluation.page_whiskers import axis, whisker

Figures: TypeAlias = Mapping[str, Any]

_GROUP_NAMES = {"language": "Language", "subset": "Subset", "task": "Task", "dataset": "Data set"}


def rows_table(summary: Figures, rows: Sequence[Figures]) -> Html:
    """All clips together, then each group of rows under its name."""
    scale = scale_for(highest for figures in (summary, *rows) if (highest := _highest(figures)) is not None)
    columns = _columns((summary, *rows))
    wer_heads = (tag("th", "WER", scope="col"), tag("th", axis(scale), class_="chart", scope="col"))
    heads = (tag("th", title, scope="col") for title, _, _ in columns)
    head = tag("tr", tag("th", "Clips", scope="col"), *wer_heads, *heads)
    groups = (_group(by, list(members), summary, columns, scale) for by, members in groupby(rows, lambda r: r["by"]))
    everything = tag("tbody", _row("All", summary, summary, columns, scale), class_="all")
    table = tag("table", tag("thead", head), everything, *groups, class_="rows")
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Figures of each group")
    meanings = "; ".join(f"{title}: {meaning}" for title, meaning, _ in columns)
    note = (
        f"Dots are word error rates, lines their 95 % intervals; the dotted line is the rate of all clips. {meanings}."
    )
    return joined((scroll, tag("p", note, class_="note")))


def _group(by: str, rows: list[Figures], summary: Figures, columns: "_Columns", scale: Scale) -> Html:
    width = 3 + len(columns)
    title = tag("tr", tag("th", _GROUP_NAMES.get(by, by), scope="rowgroup", colspan=width), class_="group")
    return tag("tbody", title, *(_row(row["name"], row, summary, columns, scale) for row in rows))


def _row(name: str, figures: Figures, summary: Figures, columns: "_Columns", scale: Scale) -> Html:
    wer = figures["wer"]
    return tag(
        "tr",
        tag("th", tag("bdi", name), scope="row", title=name),
        tag("td", percent(wer["rate"]), tag("small", interval(wer["interval"]))),
        tag("td", whisker(wer["rate"], wer["interval"], scale=scale, mark=summary["wer"]["rate"]), class_="chart"),
        *(tag("td", cell(figures)) for _, _, cell in columns),
    )


# Columns after the word error rate: title, what it means, cell. Those that nothing was there to judge by are left out.

_Columns: TypeAlias = Sequence[tuple[str, str, Callable[[Figures], Html]]]


def _columns(all_figures: Sequence[Figures]) -> _Columns:
    def any_of(key: str, judged: str) -> bool:
        return any(figures[key] is not None and figures[key][judged] for figures in all_figures)

    tolerance = all_figures[0]["timing"]["tolerance"]
    offered: list[tuple[bool, str, str, Callable[[Figures], Html]]] = [
        (True, "CER", "character error rate", lambda f: percent(f["cer"]["rate"])),
        (True, "RTF", "seconds of work per second of audio", lambda f: plain(f["rtf"])),
        (any_of("qoi", "n_compared"), "QoI", "clips no worse than the reference model's", _qoi),
        (any_of("language", "n_judged"), "Language", "detected rightly", lambda f: percent(f["language"]["share"])),
        (
            any_of("timing", "n_judged"),
            "Times",
            f"start and end within {tolerance:g} s",
            lambda f: percent(f["timing"]["share"]),
        ),
        (any_of("silence", "n_clips"), "Silence", "clips without speech that were given text", _silence),
        (True, "5-grams", "five added words in a row", lambda f: count(f["n_five_gram_insertions"])),
        (True, "Words", "of the references", lambda f: count(f["wer"]["n_reference"])),
        (True, "N", "clips", lambda f: count(f["n_clips"])),
        (True, "Failures", "clips that could not be transcribed", lambda f: count(f["n_failures"])),
    ]
    return [(title, meaning, cell) for is_shown, title, meaning, cell in offered if is_shown]


def _qoi(figures: Figures) -> Html:
    qoi = figures["qoi"]
    return percent(None if qoi is None or qoi["percent"] is None else qoi["percent"] / 100)


def _silence(figures: Figures) -> Html:
    silence = figures["silence"]
    if not silence["n_clips"]:
        return joined([ABSENT])
    return joined((count(silence["n_with_text"]), " of ", count(silence["n_clips"])))


def _highest(figures: Figures) -> float | None:
    wer = figures["wer"]
    highest: float | None = wer["interval"][1] if wer["interval"] else wer["rate"]
    return highest
