"""An evaluation as a few lines for people; everything else is in the JSON and on the page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stagewhisper.cli.text_table import table_lines

if TYPE_CHECKING:
    from stagewhisper.evaluation import ErrorRate, Evaluation, Figures

_HEADER = ("", "clips", "WER", "95 % interval", "CER", "sub", "del", "ins", "RTF")


def report_lines(evaluation: "Evaluation") -> Iterator[str]:
    """A table with a line for all clips and one per row, then what else was measured."""
    table = [_HEADER, _cells("all", evaluation.summary)]
    table += [_cells(printable(f"{row.by} {row.name}"), row.figures) for row in evaluation.rows]
    yield from table_lines(table)
    yield ""
    yield from _sentences(evaluation)


def printable(text: str) -> str:
    """`text` with line ends and what would steer a terminal spelled out: a data set may have been made by anybody."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _cells(name: str, figures: "Figures") -> tuple[str, ...]:
    words = figures.wer.counts
    return (
        name,
        str(figures.n_clips),
        _percent(figures.wer.rate),
        _interval(figures.wer),
        _percent(figures.cer.rate),
        str(words.substitutions),
        str(words.deletions),
        str(words.insertions),
        "–" if figures.rtf is None else f"{figures.rtf:.3f}",
    )


def _sentences(evaluation: "Evaluation") -> Iterator[str]:
    figures = evaluation.summary
    if evaluation.reference_model is not None and figures.qoi is not None and figures.qoi.percent is not None:
        other = evaluation.reference_model
        yield (
            f"QoI {figures.qoi.percent:.1f}: no worse than {printable(other.name)} (WER {_percent(other.wer.rate)}) "
            f"on {figures.qoi.n_no_worse} of {figures.qoi.n_compared} clips"
        )
    if figures.language.n_judged:
        yield f"language right: {_share(figures.language.n_right, figures.language.n_judged)}"
    timing = figures.timing
    if timing.n_judged:
        errors = "" if timing.median_error is None else f"; median error {timing.median_error:.2f} s"
        errors += "" if timing.p90_error is None else f", 90 % below {timing.p90_error:.2f} s"
        yield f"start and end within {timing.tolerance:g} s: {_share(timing.n_within, timing.n_judged)}{errors}"
    if figures.silence.n_clips:
        yield f"text where nothing is said: {_share(figures.silence.n_with_text, figures.silence.n_clips)}"
    yield f"fallbacks: {figures.n_fallbacks} of {figures.n_windows} windows"
    yield (f"inserted 5-grams: {figures.n_five_gram_insertions}, in {figures.n_clips_with_five_gram_insertions} clips")
    left_out = sum(dataset.n_without_text for dataset in evaluation.datasets)
    if left_out:
        yield f"left out, as their text is not known: {left_out}"
    if figures.n_failures:
        yield f"failed: {figures.n_failures}"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.2f} %"


def _interval(rate: "ErrorRate") -> str:
    return "–" if rate.interval is None else f"{100 * rate.interval[0]:.2f}–{100 * rate.interval[1]:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)"
