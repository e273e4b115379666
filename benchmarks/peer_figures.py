"""From all answers to what is stored: medians, how many times as fast ours is, and whether the same tokens came out."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from peer_rounds import Answer, Record

EXACT, INT8 = "ours, exact", "ours, int8"
REFERENCE = "openai-whisper"
"""Whose tokens the others' are compared with."""
UNKNOWN = -1
"""What a worker gives for a token that its program does not tell."""
MEASURES = {
    "encoder": ("window", "encoder"),
    "step, batch 1": ("window", "step"),
    "step, batch 8": ("batch 8", "step"),
    "window": ("window", "whole"),
    "window, beam 5": ("beam 5", "whole"),
    "8 windows": ("batch 8", "whole"),
}
"""Seconds: which case each comes from, and which part of the answer it is."""


def rows(records: Mapping[str, Record], sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """One row for each program."""
    found = {name: row(record, sizes[name]) for name, record in records.items()}
    reference = first_tokens(records.get(REFERENCE, Record()))
    for name, record in records.items():
        tokens = first_tokens(record)
        found[name]["same tokens as the reference"] = None if UNKNOWN in tokens else n_equal(tokens, reference)
        for title, ours in (("ours exact is faster by", EXACT), ("ours int8 is faster by", INT8)):
            if ours in found:
                found[name][title] = ratios(found[name], found[ours])
    return found


def row(record: Record, size: int) -> dict[str, Any]:
    """Medians and ninetieth percentiles in seconds; bytes."""
    seconds, slow = {}, {}
    for name, (case, part) in MEASURES.items():
        values = [answer[part] for answer in record.rounds.get(case, [])]
        if values:
            seconds[name], slow[name] = statistics.median(values), percentile_90(values)
    if record.starts:
        for name, part in {"start": "start", "loading": "loaded", "first window": "first"}.items():
            values = [answer[part] for answer in record.starts]
            seconds[name], slow[name] = statistics.median(values), percentile_90(values)
    return {
        "seconds": seconds,
        "p90": slow,
        "windows per second, batch 8": 8 / seconds["8 windows"] if "8 windows" in seconds else None,
        "peak bytes": max((answer["peak_bytes"] for answer in record.starts), default=None),
        "bytes on disk": size,
        "tokens": {case: len(answers[-1]["tokens"][0]) for case, answers in record.rounds.items()},
        "cannot": record.refusals,
    }


def ratios(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, float]:
    """How many times their seconds and bytes are ours."""
    found = {
        name: value / ours["seconds"][name] for name, value in theirs["seconds"].items() if name in ours["seconds"]
    }
    for name in ("peak bytes", "bytes on disk"):
        if theirs[name] and ours[name]:
            found[name] = theirs[name] / ours[name]
    return found


def percentile_90(values: Sequence[float]) -> float:
    """By linear interpolation."""
    ordered = sorted(values)
    place = 0.9 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def first_tokens(record: Record) -> list[int]:
    """Of the first window, decoded greedily."""
    answers: list[Answer] = record.rounds.get("window", [])
    return list(answers[-1]["tokens"][0]) if answers else []


def n_equal(tokens: Sequence[int], reference: Sequence[int]) -> int:
    """Tokens before the first that differs."""
    pairs = enumerate(zip(tokens, reference, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(tokens), len(reference)))
