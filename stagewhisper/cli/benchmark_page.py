"""A benchmark's results → one HTML file that shows them, with nothing to fetch and no script.

    head      machine and decoding             verdicts   the preset's claims
    a section for each piece of work: benchmark_chart, and a table
    missing   what was not measured, and why   set-up     settings, machine, versions

The style is the evaluation's page's and a few rules more. Every element is made by `page_markup.tag`, which escapes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stagewhisper.benchmarking.tables import EXPLANATION, circumstances, missing, pieces, table
from stagewhisper.cli.benchmark_chart import start_chart, warm_chart
from stagewhisper.cli.page_frame import framed
from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_setup import setup_list

if TYPE_CHECKING:
    from stagewhisper.benchmarking import Result


def benchmark_page(document: Mapping[str, Any], results: "Sequence[Result]") -> str:
    """The page as a whole."""
    return framed(
        f"Benchmark, {document['machine']['cpu']}",
        _heading(document),
        *_sections(document, results),
        style="benchmark_page.css",
    )


def _heading(document: Mapping[str, Any]) -> Html:
    return tag(
        "header",
        tag("p", "stagewhisper benchmark", class_="kicker"),
        tag("h1", tag("bdi", document["machine"]["cpu"])),
        tag("p", circumstances(document), class_="note"),
    )


def _sections(document: Mapping[str, Any], results: "Sequence[Result]") -> Iterator[Html]:
    if document["verdicts"]:
        entries = (
            tag("li", tag("strong", f"{v['claim']}: {v['verdict']}. "), v["reason"]) for v in document["verdicts"]
        )
        yield _section("Verdicts", tag("ul", *entries, class_="verdicts"))
    for title, members in pieces(results):
        yield _section(title, warm_chart(members), start_chart(members), _table(table(members)))
    left_out = missing(results)
    if left_out:
        rows = [("Point", "Why"), *left_out]
        yield _section("Not measured", _table(rows, class_="failures"))
    settings = {name: value for name, value in document["settings"].items() if not isinstance(value, Mapping)}
    lists = (
        ("Settings", {**settings, **document["settings"]["decoding"]}),
        ("Machine", document["machine"]),
        ("Versions", document["versions"]),
    )
    yield _section("Set-up", tag("div", *(setup_list(*entry) for entry in lists), class_="setup"))


def _verdict(verdict: Mapping[str, str]) -> Html:
    return tag("li", tag("strong", f"{verdict['claim']}: {verdict['verdict']}. "), verdict["reason"])


def _table(rows: Sequence[Sequence[str]], *, class_: str = "measured") -> Html:
    header, *others = rows
    top = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in header)))
    body = (tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in others)
    whole = tag("table", top, tag("tbody", *body), class_=class_)
    scroll = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=header[0])
    return joined((scroll, tag("p", EXPLANATION, class_="note") if class_ == "measured" else Html("")))


def _section(title: str, *children: Html) -> Html:
    return tag("section", tag("h2", title), *children)
