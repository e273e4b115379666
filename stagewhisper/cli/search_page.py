"""A search's JSON document → one HTML file that shows it, with nothing to fetch and no script.

    head     what was searched, and the best     front    search_chart, and a table of the front
    points   all of them                         failed   what could not be compiled or run, and why
    set-up   what may vary, goals, the machine

The style is the evaluation's page's and a few rules more. Every element is made by `page_markup.tag`, which escapes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagewhisper.cli.page_frame import framed
from stagewhisper.cli.search_chart import front_chart
from stagewhisper.compiler.search_space import shown
from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_numbers import ABSENT
from stagewhisper.evaluation.page_setup import setup_list


def search_page(document: Mapping[str, Any]) -> str:
    """The page as a whole; `document` is what `search_document` gives, or front.json."""
    return framed(
        f"{document['recipe']}, {document['model']} – search",
        _heading(document),
        *_sections(document),
        style="search_page.css",
    )


def _heading(document: Mapping[str, Any]) -> Html:
    machine = document["circumstances"].get("machine", {})
    place = (f"{len(document['points'])} points", machine.get("cpu"), document["created"][:10])
    return tag(
        "header",
        tag("p", "stagewhisper search", class_="kicker"),
        tag("h1", tag("bdi", document["recipe"]), ", ", tag("bdi", document["model"])),
        tag("p", *_lede(document), class_="lede"),
        tag("p", " · ".join(str(part) for part in place if part), class_="note"),
    )


def _lede(document: Mapping[str, Any]) -> Iterator[Html]:
    """The best point beside the reference."""
    best = next((point for point in document["points"] if point["recipe"] == document["best"]), None)
    if best is None:
        yield joined(("No point keeps to all limits.",))
        return
    reference = next(iter(document["references"].values()))["metrics"]
    for key in _keys(document):
        before = f"{_number(reference.get(key))} → "
        yield joined((f"{key} ", before, tag("strong", _number(best["metrics"].get(key))), ". "))


def _sections(document: Mapping[str, Any]) -> Iterator[Html]:
    done = [point for point in document["points"] if point["state"] == "done"]
    failed = [point for point in document["points"] if point["state"] == "failed"]
    first = next(axis["key"] for axis in document["axes"] if axis["goal"] == "best")
    done.sort(key=lambda point: float(point["metrics"][first]))
    front = [point for point in done if point["on_front"]]
    yield _section("front", "The front", front_chart(document), _points_table(document, front, label="The front"))
    yield _section("points", "All points", _points_table(document, done, label="All points"))
    if failed:
        yield _section("failed", "Failed", _failures(failed))
    goals = {axis["key"]: _goal(axis) for axis in document["axes"]}
    space = {name: ", ".join(map(shown, values)) for name, values in document["space"].items()}
    search = {name: document[name] for name in ("strategy", "trials", "seed")}
    machine = document["circumstances"].get("machine", {})
    lists = (("Search", search), ("Space", space), ("Goals", goals), ("Machine", machine))
    yield _section("setup", "Set-up", tag("div", *(setup_list(*entry) for entry in lists), class_="setup"))


def _section(identifier: str, title: str, *children: Html | None) -> Html:
    return tag("section", tag("h2", title), *children, id=identifier)


def _points_table(document: Mapping[str, Any], points: Sequence[Mapping[str, Any]], *, label: str) -> Html:
    keys = _keys(document)
    keys += [key for key in (points[0]["metrics"] if points else ()) if key not in keys]
    rows = [_row(name, record, keys) for name, record in document["references"].items()]
    rows += [_row(_chosen(point), point, keys, is_best=point["recipe"] == document["best"]) for point in points]
    top = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in ("", *keys, "Limits"))))
    return _scrolling(tag("table", top, tag("tbody", *rows), class_="points"), label)


def _row(title: str, record: Mapping[str, Any], keys: Sequence[str], *, is_best: bool = False) -> Html:
    keeps = record.get("keeps_limits")
    limits = "" if keeps is None else "kept" if keeps else "broken"
    cells = (tag("td", _number(record["metrics"].get(key))) for key in keys)
    return tag("tr", tag("th", title, scope="row"), *cells, tag("td", limits), class_="best" if is_best else None)


def _failures(points: Sequence[Mapping[str, Any]]) -> Html:
    rows = (tag("tr", tag("th", _chosen(point), scope="row"), tag("td", point["reason"])) for point in points)
    top = tag("thead", tag("tr", tag("th", "Point", scope="col"), tag("th", "Why", scope="col")))
    return _scrolling(tag("table", top, tag("tbody", *rows), class_="failures"), "Failed points")


def _scrolling(table: Html, label: str) -> Html:
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)


def _keys(document: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(axis["key"] for axis in document["axes"]))


def _goal(axis: Mapping[str, Any]) -> str:
    if axis["limit"] is None:
        return "the best that can be had" if axis["goal"] == "best" else "measured"
    than = f", counted from {axis['than']}" if axis["than"] else ""
    return f"{axis['goal'].replace('_', ' ')} {axis['limit']:.4g}{than}"


def _chosen(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in point["choices"].items())


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"
