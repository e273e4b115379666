"""What was evaluated, with what and where: enough to run it again."""

from collections.abc import Mapping
from typing import Any

from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_numbers import ABSENT, counted


def setup(document: Mapping[str, Any]) -> Html:
    """Lists of names and values: the model, its options, the machine, versions and data sets."""
    scoring = {"normalizer": document["normalizer"]}
    lists = (
        ("Model", document["model"]),
        ("Options", {**document["options"], **scoring}),
        ("Machine", document["machine"]),
        ("Versions", document["versions"]),
        ("Data sets", {dataset["name"]: _size(dataset) for dataset in document["datasets"]}),
    )
    return tag("div", *(setup_list(title, values) for title, values in lists), class_="setup")


def setup_list(title: str, values: Mapping[str, Any]) -> Html:
    """A list of names and values under a heading."""
    entries = (joined((tag("dt", tag("bdi", name)), tag("dd", _shown(value)))) for name, value in values.items())
    return tag("section", tag("h3", title), tag("dl", *entries))


def _size(dataset: Mapping[str, Any]) -> Html:
    without = dataset["n_without_text"]
    left_out = joined((", ", counted(without, "clip"), " without a reference left out")) if without else None
    return joined((counted(dataset["n_items"], "clip"), left_out))


def _shown(value: Any) -> Html:
    if isinstance(value, Html):
        return value
    if value is None or value == [] or value == ():
        return joined([ABSENT])
    if isinstance(value, bool):
        return joined(["yes" if value else "no"])
    if isinstance(value, float):
        return joined([f"{value:.6g}"])
    if isinstance(value, list | tuple):
        return Html(", ".join(map(_shown, value)))
    return joined([str(value)])
