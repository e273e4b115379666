"""What `stagewhisper search` finds for nano: the Pareto front over errors, time of a window and size.

    python benchmarks/search.py --data SETS/an4 --data SETS/fsdd --folder WORK/search

Why: the recipes are hand-made; the search says what they leave on the table, under goals that anybody can read.
How: `search.yaml`, 20 points, one thread; the word error rate on the first 40 clips of each data set (those of
`training/evaluation_sets.py`), times beside the exact bundle's in fresh processes, calls in turns. `noise` is what the
exact bundle's ratio to itself came to. The same command goes on where it was stopped, and `--folder` keeps every point.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import report

from stagewhisper.cli import main as stagewhisper

RECIPE = Path(__file__).parent / "search.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="a data set; may be given several times")
    parser.add_argument("--folder", required=True, help="where the search keeps what it measured")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recipe", default=str(RECIPE))
    parser.add_argument("--threads", default="1")
    parser.add_argument("--trials")
    parser.add_argument("--limit")
    parser.add_argument("--store", default="search", help="name of the results file")
    arguments = parser.parse_args()
    given = [(f"--{name}", getattr(arguments, name)) for name in ("model", "threads", "trials", "limit")]
    options = [part for name, value in given if value is not None for part in (name, value)]
    data = [part for name in arguments.data for part in ("--data", name)]
    code = stagewhisper(["search", arguments.recipe, "--output", arguments.folder, *options, *data])
    document = Path(arguments.folder) / "front.json"
    if code != 0 and not document.exists():
        raise SystemExit(code)
    report.store(arguments.store, figures(json.loads(document.read_text(encoding="utf-8"))))


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """The front, the best point and the references, without what is in the report's own head."""
    points = document["points"]
    return {
        **{name: document[name] for name in ("recipe", "model", "strategy", "seed", "space", "axes")},
        "threads": document["circumstances"]["threads"],
        "references": {name: values(record) for name, record in document["references"].items()},
        "front": [values(point) for point in points if point["on_front"]],
        "best": next((values(point) for point in points if point["recipe"] == document["best"]), None),
        "n_points": len(points),
        "failed": [{"choices": p["choices"], "reason": p["reason"]} for p in points if p["state"] == "failed"],
        "seconds": round(sum(point["seconds"] for point in points), 1),
    }


def values(record: dict[str, Any]) -> dict[str, Any]:
    found = {"choices": record["choices"], "metrics": {key: round(x, 4) for key, x in record["metrics"].items()}}
    noise = {
        phase: round(times["noise"], 3)
        for phase, times in record["details"].get("times", {}).items()
        if "noise" in times
    }
    return {**found, "noise": noise} if noise else found


if __name__ == "__main__":
    main()
