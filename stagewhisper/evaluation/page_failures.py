"""The clips that could not be read or decoded, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewhisper.evaluation.page_markup import Html, tag


def failures_table(failures: Sequence[Mapping[str, Any]]) -> Html:
    """A row for each failure, in the order of the data sets."""
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in ("Clip", "Data set", "Reason"))))
    rows = (
        tag(
            "tr",
            tag("th", tag("bdi", failure["audio"]), scope="row"),
            tag("td", tag("bdi", failure["dataset"])),
            tag("td", tag("bdi", failure["error"])),
        )
        for failure in failures
    )
    table = tag("table", head, tag("tbody", *rows), class_="failures")
    return tag("div", table, class_="scroll tall", tabindex="0", role="region", aria_label="Failures")
