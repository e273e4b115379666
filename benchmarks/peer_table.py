"""The rows of one shape and one number of threads as a table for people."""

from collections.abc import Mapping
from typing import Any

COLUMNS = (
    ("encoder ms", "encoder", 1e3, ".0f"),
    ("step ms", "step, batch 1", 1e3, ".2f"),
    ("at 8", "step, batch 8", 1e3, ".1f"),
    ("window s", "window", 1.0, ".3f"),
    ("beam 5 s", "window, beam 5", 1.0, ".3f"),
    ("start s", "start", 1.0, ".2f"),
)
"""Title, measure, factor and format."""


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each program, and below them the reasons for what is missing."""
    width = max(len(name) for name in rows)
    titles = [title for title, *_ in COLUMNS] + [
        "windows/s",
        "MB peak",
        "MB disk",
        "tokens",
        "same",
        "int8 ×",
        "exact ×",
    ]
    lines = [f"{'':<{width}} " + " ".join(f"{title:>10}" for title in titles)]
    lines += [f"{name:<{width}} " + " ".join(f"{cell:>10}" for cell in cells(row)) for name, row in rows.items()]
    lines += [f"{name}, {case}: {reason}" for name, row in rows.items() for case, reason in row["cannot"].items()]
    lines.append(
        "same: tokens equal to openai-whisper's; int8 ×, exact ×: how many times as fast ours is, on one window"
    )
    return "\n".join(lines)


def cells(row: Mapping[str, Any]) -> list[str]:
    """In the order of the titles; "–" for what is missing."""
    seconds = row["seconds"]
    found = [said(seconds.get(measure), factor, style) for _, measure, factor, style in COLUMNS]
    found += [
        said(row["windows per second, batch 8"], 1.0, ".2f"),
        said(row["peak bytes"], 1e-6, ".0f"),
        said(row["bytes on disk"], 1e-6, ".0f"),
        "/".join(str(n) for n in sorted(set(row["tokens"].values()))) or "–",
        said(row["same tokens as the reference"], 1, "d"),
    ]
    for title in ("ours int8 is faster by", "ours exact is faster by"):
        found.append(said(row.get(title, {}).get("window"), 1.0, ".2f"))
    return found


def said(value: float | None, factor: float, style: str) -> str:
    """A number in a cell."""
    return "–" if value is None else f"{value * factor:{style}}"
