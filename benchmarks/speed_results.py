"""What the stored results say about speed, size and quality of compiled models, as Markdown.

README gets the shortest form, `docs/speed.md` all of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from peer_table import said

OURS, RIVAL = "ours, int8", "faster-whisper, int8"
MEASURES = (
    ("window, s", "window", 1.0, ".2f"),
    ("5 beams, s", "window, beam 5", 1.0, ".2f"),
    ("8 windows, s", "8 windows", 1.0, ".2f"),
    ("encoder, ms", "encoder", 1e3, ".0f"),
    ("step, ms", "step, batch 1", 1e3, ".1f"),
    ("step of 8, ms", "step, batch 8", 1e3, ".1f"),
    ("start, s", "start", 1.0, ".2f"),
)
"""Title, measure, factor and format."""


def readme_lines(peers: Mapping[str, Any] | None, precisions: Mapping[str, Any] | None) -> list[str]:
    """One table of the int8 form against its nearest rivals, and what it costs in words."""
    lines: list[str] = []
    if peers is not None:
        lines += [
            "`--precision int8`, 30 s of audio and 100 tokens, against every program in its best form for this "
            "processor ([all of them](docs/speed.md)):",
            "",
            "| model | threads | stagewhisper | faster-whisper int8 | fastest of the others "
            "| faster-whisper, 8 windows side by side | 5 beams |",
            "|---|---|---|---|---|---|---|",
            *(_readme_row(part) for part in peers["parts"]),
            "",
        ]
    if precisions is not None:
        rows = precisions["5 beams"]
        costs = ", ".join(f"{name} {_points(rows[name]['difference'])}" for name in rows if name != "fp32")
        n_clips = rows["fp32"]["n_clips"]
        lines += [f"Word errors of nano on {n_clips:,} clips, compared with fp32, in percentage points: {costs}.", ""]
    return lines


def _readme_row(part: Mapping[str, Any]) -> str:
    rows = part["rows"]
    ours, rival = rows[OURS]["seconds"], rows[RIVAL]["seconds"]
    name, other = min(
        (row["seconds"]["window"], name)
        for name, row in rows.items()
        if not name.startswith("ours") and name != RIVAL and "window" in row["seconds"]
    )[::-1]
    gains = [f"**{rival[measure] / ours[measure]:.1f}×**" for measure in ("8 windows", "window, beam 5")]
    return (
        f"| {part['shape']} | {part['threads']} | {ours['window']:.2f} s | {rival['window']:.2f} s, "
        f"**{rival['window'] / ours['window']:.1f}×** | {name} {other:.2f} s, **{other / ours['window']:.1f}×** "
        f"| {' | '.join(gains)} |"
    )


def peer_tables(peers: Mapping[str, Any]) -> Iterator[str]:
    """Everything that was measured of everybody."""
    for part in peers["parts"]:
        threads = "1 thread" if part["threads"] == 1 else f"{part['threads']} threads"
        rounds = "one round" if part["rounds"] == 1 else f"medians of {part['rounds']} rounds"
        yield f"### {part['shape']}, {threads}"
        yield ""
        yield f"After a round to warm up, {rounds}."
        yield ""
        yield f"| | {' | '.join(title for title, *_ in MEASURES)} | peak, MB | disk, MB | as fast as ours int8 |"
        yield "|---|" + "---|" * (len(MEASURES) + 3)
        for name, row in part["rows"].items():
            cells = [said(row["seconds"].get(measure), factor, style) for _, measure, factor, style in MEASURES]
            cells += [said(row["peak bytes"], 1e-6, ".0f"), said(row["bytes on disk"], 1e-6, ".0f")]
            ratio = row.get("ours int8 is faster by", {}).get("window")
            yield f"| {name} | {' | '.join(cells)} | {said(None if not ratio else 1 / ratio, 1, '.2f')} |"
        yield ""
        reasons = {(name.split(",")[0], why) for name, row in part["rows"].items() for why in row["cannot"].values()}
        for name, why in sorted(reasons):
            yield f"{name} has no row of eight windows: {why}."
        for name, calls in part.get("roofline", {}).items():
            floors = (f"{call} {_floor(one)}" for call, one in calls.items())
            yield f"{name}, milliseconds and the machine's floor: {'; '.join(floors)}."
        yield ""


def _floor(one: Mapping[str, Any]) -> str:
    return f"{1e3 * one['seconds']:.1f} of {1e3 * one['floor']:.1f} ({one['ratio']:.1f}×, set by {one['set by']})"


def precision_table(found: Mapping[str, Any]) -> Iterator[str]:
    """What precisions cost in words."""
    decodings = [name for name in found if name != "model"]
    for decoding in decodings:
        rows = found[decoding]
        sets = list(rows["fp32"]["sets"])
        yield f"| {decoding} | all | difference, 95 % interval | QoI | {' | '.join(sets)} |"
        yield "|---|---|---|---|" + "---|" * len(sets)
        for name, row in rows.items():
            low, high = (_points(bound) for bound in row["interval"])
            each = " | ".join(f"{100 * row['sets'][one]['wer']:.1f}" for one in sets)
            yield (
                f"| {name} | {100 * row['wer']:.2f} % | {_points(row['difference'])} [{low}, {high}] "
                f"| {row['qoi']['percent']:.1f} % | {each} |"
            )
        yield ""


def step_tables(found: Mapping[str, Any]) -> Iterator[str]:
    """What each float32 pass makes of a decoder step, and how steps grow with the text."""
    for threads in ("1 threads", "2 threads"):
        one = found[threads]
        yield (
            f"{threads.replace('1 threads', '1 thread')}: {one['ms']['plain export']:.1f} ms as exported, "
            f"{one['ms']['all passes']:.1f} ms after all passes, **{one['gain']:.2f}×**; logits within "
            f"{one['largest difference of logits']:.0e}."
        )
        yield ""
        yield "| pass | rewrites | alone | in the chain | so far | operators | Transposes |"
        yield "|---|---|---|---|---|---|---|"
        for row in one["gains"]:
            gains = (said(row[gain], 1, ".2f") for gain in ("gain alone", "gain in the chain", "gain so far"))
            yield (
                f"| `{row['pass']}` | {row['rewrites in the chain']} | {' | '.join(gains)} | {row['operators']} "
                f"| {row['transposes']} |"
            )
        yield ""
        yield "| tokens in the cache | as exported, ms | all passes, ms |"
        yield "|---|---|---|"
        for row in one["positions"]:
            yield f"| {row['position']} | {row['plain ms']:.1f} | {row['exact ms']:.1f} |"
        yield ""


def compile_table(found: Mapping[str, Any]) -> Iterator[str]:
    """What compiling takes, and how soon a bundle is ready."""
    titles = ("checkpoint", "MB", "recipe", "checked, s", "unchecked, s", "peak, MB", "of the checkpoint", "load, s")
    yield f"| {' | '.join(titles)} |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, rows in found.items():
        if not isinstance(rows, dict):
            continue
        recipes = [key.removesuffix(", load") for key in rows if key.endswith(", load")]
        for recipe in recipes:
            checked, free, load = (rows[f"{recipe}, {what}"] for what in ("check end", "check off", "load"))
            yield (
                f"| {name} | {rows['checkpoint MB']:.0f} | {recipe} | {checked['seconds']:.1f} | {free['seconds']:.1f} "
                f"| {checked['peak MB']:.0f} | {checked['of the checkpoint']:.2f}× | {load['load']:.2f} |"
            )
    yield ""


def foreign_table(found: Mapping[str, Any]) -> Iterator[str]:
    """What the passes make of graphs that others exported."""
    yield "| export | operators | Transposes | MatMuls | largest difference | time, ms |"
    yield "|---|---|---|---|---|---|"
    for name, row in found["graphs"].items():
        times = "; ".join(
            f"{case} {one['before']:.1f} → {one['after']:.1f}, {one['before'] / one['after']:.2f}×"
            for case, one in row["ms"].items()
        )
        counts = (f"{before} → {after}" for before, after in [row["operators"], *_by_type(row)])
        yield f"| {name} | {' | '.join(counts)} | {row['largest difference'] or 0:.0e} | {times} |"
    yield ""


def _by_type(row: Mapping[str, Any]) -> list[list[int]]:
    return [row["by type"][kind] for kind in ("Transpose", "MatMul")]


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"
