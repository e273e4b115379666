"""What a search found, as plain data for JSON and for the page; and a recipe as YAML that `compile` takes."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import yaml

from stagewhisper.compiler.recipe import Recipe
from stagewhisper.compiler.search import Found
from stagewhisper.compiler.search_footprint import FORMAT, Record


def search_document(found: Found, recipe: Recipe, *, model: str) -> dict[str, Any]:
    """The points, the front, the best one, and what it was all about; `model` is what to call it."""
    assert recipe.search is not None, "it was searched"  # noqa: S101
    on_front = {record.recipe for record in found.front}
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.name,
        "model": model,
        "strategy": recipe.search.strategy,
        "trials": recipe.search.trials,
        "seed": recipe.search.seed,
        "space": {
            name: list(choice.values) for name, choice in zip(found.space.names, found.space.choices, strict=True)
        },
        "axes": [axis.to_dict() for axis in found.goals.axes],
        "references": {name: asdict(record) for name, record in found.references.items()},
        "points": [
            {**asdict(record), "on_front": record.recipe in on_front, "keeps_limits": _keeps(found, record)}
            for record in found.points
        ],
        "best": None if found.best is None else found.best.recipe,
        "circumstances": dict(found.circumstances),
    }


def recipe_yaml(recipe: Recipe, metrics: Mapping[str, float], *, remark: str) -> str:
    """The text of a recipe file: `stagewhisper compile --recipe FILE` makes the same bundle of it."""
    values = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
    head = "".join(f"# {line}\n" for line in (remark, f"Measured: {values}"))
    return head + str(yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True, width=110))


def _keeps(found: Found, record: Record) -> bool:
    return record.is_done and found.goals.keeps(record.metrics)
