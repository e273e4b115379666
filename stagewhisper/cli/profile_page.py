"""A profile's JSON document → one HTML file that shows it, with nothing to fetch and no script.

    head         what was profiled                  roofline    profile_roofline, a table of distances
    one section for each phase: bars by operator    bytes       what one call moves
    set-up       the machine, versions, options

The style is the evaluation's page's and a few rules more. Every element is made by `page_markup.tag`, which escapes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagewhisper.cli.page_frame import framed
from stagewhisper.cli.profile_bars import operator_table
from stagewhisper.cli.profile_roofline import roofline_chart
from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_setup import setup_list

_BYTES = (
    ("weights", "Weights"),
    ("cross_cache", "Cross K/V"),
    ("self_cache_read", "Self K/V read"),
    ("self_cache_written", "Self K/V written"),
    ("other_inputs", "Other inputs"),
    ("other_outputs", "Other outputs"),
    ("moved", "Moved"),
    ("intermediate", "Between operators"),
)


def profile_page(document: Mapping[str, Any]) -> str:
    """The page as a whole; `document` is what `--json` writes."""
    return framed(
        f"{' and '.join(_names(document))} – profile",
        _heading(document),
        *_sections(document),
        style="profile_page.css",
    )


def _heading(document: Mapping[str, Any]) -> Html:
    options, rates = document["options"], document["rates"]
    beams = "" if options["n_group"] == 1 else f" × {options['n_group']} beams"
    windows = f"{options['n_audio']} window{'' if options['n_audio'] == 1 else 's'}{beams}"
    place = (windows, document["machine"].get("cpu"), document["created"][:10])
    return tag(
        "header",
        tag("p", "stagewhisper profile", class_="kicker"),
        tag("h1", *_between([tag("bdi", name) for name in _names(document)], " → ")),
        tag("p", *_lede(document["bundles"]), class_="lede"),
        tag("p", " · ".join(str(part) for part in place if part), class_="note"),
        tag(
            "p",
            f"This machine, measured in the same run: {rates['fp32'] / 1e9:.1f} GFLOP/s fp32, "
            f"{rates['int8'] / 1e9:.1f} GOP/s int8, {rates['bandwidth'] / 1e9:.1f} GB/s.",
            class_="note",
        ),
    )


def _lede(bundles: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    """The time of the encoder and of the last step, after beside before."""
    for title, index in (("Encoder", 0), (bundles[0]["phases"][-1]["name"].capitalize(), -1)):
        times = [milliseconds(bundle["phases"][index]["elapsed"]) for bundle in bundles]
        yield joined((f"{title} ", tag("strong", " → ".join(times)), ". "))


def _sections(document: Mapping[str, Any]) -> Iterator[Html]:
    bundles = document["bundles"]
    yield _section("roofline", "Roofline", roofline_chart(document), _distances(bundles))
    for phases in zip(*(bundle["phases"] for bundle in bundles), strict=True):
        title = phases[0]["name"]
        yield _section(title.replace(" ", "-"), title.capitalize(), _told(phases), operator_table(phases))
    yield _section("bytes", "Bytes of one call, MB", _bytes_table(bundles))
    lists = [(title.capitalize(), document[title]) for title in ("options", "machine", "versions")]
    yield _section("setup", "Set-up", tag("div", *(setup_list(*entry) for entry in lists), class_="setup"))


def _section(identifier: str, title: str, *children: Html) -> Html:
    return tag("section", tag("h2", title), *children, id=identifier)


def _told(phases: Sequence[Mapping[str, Any]]) -> Html:
    times = " → ".join(
        f"{milliseconds(phase['elapsed'])} (90 % below {milliseconds(phase['elapsed_p90'])}; "
        f"{phase['n_repeats']} calls)"
        for phase in phases
    )
    faster = "" if len(phases) == 1 else f": {phases[0]['elapsed'] / phases[1]['elapsed']:.2f} × as fast"
    return tag("p", f"{times}{faster}.", class_="note told")


def _distances(bundles: Sequence[Mapping[str, Any]]) -> Html:
    head = ("Phase", "Time", "GFLOP", "GFLOP/s", "GB/s", "FLOP/byte", "Floor", "Set by", "Time / floor")
    rows = (
        (
            name,
            milliseconds(phase["elapsed"]),
            f"{(phase['fp32_flops'] + phase['int8_flops']) / 1e9:.3g}",
            f"{phase['floor']['flops_rate'] / 1e9:.1f}",
            f"{phase['floor']['bandwidth'] / 1e9:.2f}",
            f"{phase['floor']['intensity']:.3g}",
            milliseconds(phase["floor"]["elapsed"]),
            phase["floor"]["bound"],
            f"{phase['floor']['ratio']:.2f}",
        )
        for name, phase in _named_phases(bundles)
    )
    return _table(head, rows, label="Distance to the floor")


def _bytes_table(bundles: Sequence[Mapping[str, Any]]) -> Html:
    head = ("Phase", *(title for _, title in _BYTES))
    rows = (
        (name, *(f"{phase['bytes'][key] / 1e6:.2f}" for key, _ in _BYTES)) for name, phase in _named_phases(bundles)
    )
    return _table(head, rows, label="Bytes")


def _table(head: Sequence[str], rows: Iterator[Sequence[str]], *, label: str) -> Html:
    body = (tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells)) for name, *cells in rows)
    top = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in head)))
    return tag(
        "div", tag("table", top, tag("tbody", *body)), class_="scroll", tabindex="0", role="region", aria_label=label
    )


def _named_phases(bundles: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Phases in order, each of the first bundle before the second's."""
    for phases in zip(*(bundle["phases"] for bundle in bundles), strict=True):
        for place, phase in zip(("before", "after"), phases, strict=False):
            yield (phase["name"] if len(phases) == 1 else f"{phase['name']}, {place}"), phase


def milliseconds(elapsed: float) -> str:
    """A time with as many digits as matter."""
    value = 1e3 * elapsed
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def _between(parts: Sequence[Html], text: str) -> Iterator[Html]:
    for index, part in enumerate(parts):
        yield joined((text, part)) if index else part


def _names(document: Mapping[str, Any]) -> list[str]:
    return [bundle["name"] for bundle in document["bundles"]]
