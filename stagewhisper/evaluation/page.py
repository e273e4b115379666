"""An evaluation's JSON document → one HTML file that shows it, with nothing to fetch.

    head       what was evaluated                     page_headline   the figures
    groups     page_rows, page_whiskers, page_scale   spread          page_histogram
    worst      page_worst, page_diff, page_audio      failures        page_failures
    all clips  page_all_clips with page.js            set-up          page_setup

Every element is made by `page_markup.tag`, which escapes. A content security policy stands behind it: the browser runs
the one script and applies the one style whose digests it names, and fetches nothing.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

from stagewhisper.evaluation.page_all_clips import all_clips
from stagewhisper.evaluation.page_failures import failures_table
from stagewhisper.evaluation.page_headline import headline
from stagewhisper.evaluation.page_histogram import histogram
from stagewhisper.evaluation.page_markup import Html, tag
from stagewhisper.evaluation.page_numbers import counted, percent, seconds
from stagewhisper.evaluation.page_rows import rows_table
from stagewhisper.evaluation.page_setup import setup
from stagewhisper.evaluation.page_worst import worst_section


def html_page(document: dict[str, Any], audio_of: Callable[[str], bytes | None]) -> str:
    """The page as a whole; `document` is `Evaluation.to_dict()`, or what its JSON gives.

    `audio_of` is asked with the `id` of each clip that goes into the page with its sound: for the bytes that
    `small_audio` makes of its recording, or None to leave the sound out.
    """
    style, script = _resource("page.css"), _resource("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{document['model']['name']} – evaluation"),
        tag("style", style),
    )
    body = tag("body", tag("main", _heading(document), *_sections(document, audio_of)), tag("script", script))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _heading(document: Mapping[str, Any]) -> Html:
    figures, model, machine = document["summary"], document["model"], document["machine"]
    datasets = ", ".join(dataset["name"] for dataset in document["datasets"])
    encoder = " ".join(
        model[key] for key in ("encoder_engine", "encoder_device", "encoder_precision") if model.get(key)
    )
    engines = (model.get("engine"), model.get("precision"), f"encoder: {encoder}" if encoder else None)
    place = (*engines, machine.get("cpu"), document["created"][:10])
    return tag(
        "header",
        tag("p", "stagewhisper evaluate", class_="kicker"),
        tag("h1", tag("bdi", model["name"])),
        tag(
            "p",
            counted(figures["n_clips"], "clip"),
            " (",
            seconds(figures["duration"]),
            ") of ",
            tag("bdi", datasets or "no data set"),
            ", transcribed with a word error rate of ",
            tag("strong", percent(figures["wer"]["rate"])),
            ".",
            class_="lede",
        ),
        tag("p", " · ".join(str(part) for part in place if part), class_="note"),
    )


def _sections(document: Mapping[str, Any], audio_of: Callable[[str], bytes | None]) -> Iterator[Html]:
    clips = document["clips"]
    yield _section("figures", "Figures", headline(document))
    yield _section("groups", "Groups", rows_table(document["summary"], document["rows"]))
    rates = [clip["words"]["rate"] for clip in clips if clip["words"]["rate"] is not None]
    if rates:
        yield _section("spread", "Clips by word error rate", histogram(rates))
    yield _section("worst", "Worst clips", worst_section(clips, audio_of))
    if document["failures"]:
        yield _section("failures", "Failures", failures_table(document["failures"]))
    if clips:
        yield _section("all", "All clips", all_clips(clips))
    yield _section("setup", "Set-up", setup(document))


def _section(identifier: str, title: str, *children: Html) -> Html:
    return tag("section", tag("h2", title), *children, id=identifier)


def _resource(name: str) -> Html:
    """A file of ours beside this one."""
    return Html(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "media-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
