"""The figures at the head of the page: word errors first, then what else was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

from stagewhisper.evaluation.page_markup import Child, Html, joined, tag
from stagewhisper.evaluation.page_numbers import count, counted, interval, percent, plain, seconds


def headline(document: Mapping[str, Any]) -> Html:
    """A tile for each measure that had something to judge by."""
    return tag("div", *_tiles(document["summary"], document["reference_model"]), class_="tiles")


def _tiles(figures: Mapping[str, Any], reference_model: Mapping[str, Any] | None) -> Iterator[Html]:
    yield _error_rate("Word error rate", "WER", figures["wer"], noun="word")
    yield _error_rate("Character error rate", "CER", figures["cer"], noun="character")
    yield _speed(figures)
    if figures["qoi"] is not None:
        yield _qoi(figures["qoi"], reference_model)
    if figures["language"]["n_judged"]:
        yield _language(figures["language"])
    if figures["timing"]["n_judged"]:
        yield _timing(figures["timing"])
    if figures["silence"]["n_clips"]:
        yield _silence(figures["silence"])
    yield _five_grams(figures)
    yield _fallbacks(figures)
    yield _failures(figures["n_failures"])


def _error_rate(label: str, short: str, rate: Mapping[str, Any], *, noun: str) -> Html:
    between = joined(("95 % interval ", interval(rate["interval"]))) if rate["interval"] else None
    edits = (
        counted(rate["substitutions"], "substitution"),
        ", ",
        counted(rate["deletions"], "deletion"),
        ", ",
        counted(rate["insertions"], "insertion"),
        " in ",
        counted(rate["n_reference"], noun),
    )
    return _tile(label, percent(rate["rate"]), between, joined(edits), kind=short.lower())


def _speed(figures: Mapping[str, Any]) -> Html:
    rtf = figures["rtf"]
    faster = joined((plain(1 / rtf), " × as fast as speech")) if rtf else None
    work = joined((seconds(figures["duration"]), " of audio in ", seconds(figures["elapsed"])))
    return _tile("Real-time factor", plain(rtf), faster, work, kind="rtf")


def _qoi(qoi: Mapping[str, Any], reference_model: Mapping[str, Any] | None) -> Html:
    share = None if qoi["percent"] is None else qoi["percent"] / 100
    compared = joined(("no worse on ", count(qoi["n_no_worse"]), " of ", counted(qoi["n_compared"], "clip")))
    if reference_model is None:
        return _tile("Quality of inference", percent(share), compared, kind="qoi")
    wer = reference_model["wer"]
    other = joined(("than ", tag("bdi", reference_model["name"]), ", whose WER is ", percent(wer["rate"])))
    return _tile("Quality of inference", percent(share), compared, other, kind="qoi")


def _language(language: Mapping[str, Any]) -> Html:
    right = joined((count(language["n_right"]), " of ", counted(language["n_judged"], "clip")))
    return _tile("Language detected rightly", percent(language["share"]), right, kind="language")


def _timing(timing: Mapping[str, Any]) -> Html:
    within = joined((count(timing["n_within"]), " of ", counted(timing["n_judged"], "clip")))
    errors = None
    if timing["median_error"] is not None:
        errors = joined(("median error ", seconds(timing["median_error"]), ", p90 ", seconds(timing["p90_error"])))
    label = joined(("Start and end within ", seconds(timing["tolerance"])))
    return _tile(label, percent(timing["share"]), within, errors, kind="timing")


def _silence(silence: Mapping[str, Any]) -> Html:
    clips = joined(("of ", counted(silence["n_clips"], "clip"), " in which nothing is said"))
    return _tile("Silence given text", count(silence["n_with_text"]), clips, kind="silence")


def _five_grams(figures: Mapping[str, Any]) -> Html:
    clips = counted(figures["n_clips_with_five_gram_insertions"], "clip")
    return _tile(
        "Hallucinated 5-grams",
        count(figures["n_five_gram_insertions"]),
        joined(("five added words in a row, in ", clips)),
        kind="five-grams",
    )


def _fallbacks(figures: Mapping[str, Any]) -> Html:
    windows = joined(("of ", counted(figures["n_windows"], "window"), " needed a second decoding"))
    return _tile("Fallbacks", count(figures["n_fallbacks"]), windows, kind="fallbacks")


def _failures(n_failures: int) -> Html:
    if not n_failures:
        return _tile("Failures", count(0), "every clip could be transcribed", kind="failures")
    where = tag("a", "clips that could not be transcribed", href="#failures")
    return _tile("Failures", count(n_failures), where, kind="failures", is_alarming=True)


def _tile(label: str, value: Html, *details: Child, kind: str, is_alarming: bool = False) -> Html:
    return tag(
        "div",
        tag("h3", label),
        tag("p", value, class_="value"),
        *(tag("p", detail, class_="note") for detail in details if detail is not None),
        class_="tile alarming" if is_alarming else "tile",
        id=f"tile-{kind}",
    )
