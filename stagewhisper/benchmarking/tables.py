"""Results as tables: cells for people, Markdown of them, and CSV for spreadsheets."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagewhisper.benchmarking.points import groups
from stagewhisper.benchmarking.results import Result

HEADER = (
    "engine", "load s", "compile s", "first s", "warm s", "p90 s", "RTF", "tokens/s", "WER", "same tokens", "memory MB",
)  # fmt: skip
ABSENT = "–"
EXPLANATION = (
    "load: imports and reading the model; compile: before that (onnxruntime) or within the first run (jax); first: the "
    "first run; warm and p90: median and 90th percentile of the warm runs; RTF: seconds of work for each second of "
    "audio; same tokens: windows with the tokens of the first float32 row; memory: peak, of process + device."
)


def title(group: tuple[str, str, str, int], *, seconds: float) -> str:
    """What all rows of a table have done."""
    audio, model, mode, batch = group
    how = "one window after the other" if mode == "sequential" else f"{batch} windows side by side"
    return f"{model}, {audio} ({seconds:.3g} s of audio), {how}"


def pieces(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """For each group its title, and what was measured of it, the fastest first."""
    done = {result.point: result for result in results if result.is_done}
    for group in groups(list(done)):
        members = sorted((done[point] for point in group), key=lambda result: result.median)
        yield title(group[0].group, seconds=members[0].audio_seconds), members


def table(members: Sequence[Result]) -> list[tuple[str, ...]]:
    """A row for each, the header first."""
    return [HEADER, *map(cells, members)]


def cells(result: Result) -> tuple[str, ...]:
    """A measured point's row."""
    return (
        result.point.label,
        _seconds(result.start),
        _seconds(result.compile),
        _seconds(result.first),
        _seconds(result.median),
        _seconds(result.p90),
        f"{result.rtf:.3g}",
        f"{result.tokens_per_second:.0f}",
        ABSENT if result.wer is None else f"{100 * result.wer:.1f} %",
        ABSENT if result.same_tokens is None else f"{100 * result.same_tokens:.0f} %",
        _memory(result),
    )


def missing(results: Sequence[Result]) -> list[tuple[str, str]]:
    """What was not measured, and why: each reason once, with the points that it concerns."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if not result.is_done:
            reason = (result.point.label, f"{result.state}: {result.reason}")
            concerned.setdefault(reason, []).append(f"{result.point.audio}, batch {result.point.batch}")
    n_groups = len({result.point.group for result in results})
    return [
        (label if len(where) == n_groups else f"{label} ({'; '.join(where)})", reason)
        for (label, reason), where in concerned.items()
    ]


def markdown(document: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Everything for people: verdicts, tables, what was not measured, and the circumstances."""
    parts = ["# Benchmark", circumstances(document)]
    if document["verdicts"]:
        parts.append("## Verdicts")
        parts += [f"- **{v['claim']}: {v['verdict']}.** {v['reason']}" for v in document["verdicts"]]
    for name, members in pieces(results):
        parts += [f"## {name}", "\n".join(_markdown_rows(table(members)))]
    left_out = missing(results)
    if left_out:
        parts += ["## Not measured", "\n".join(f"- {_escaped(label)}: {_escaped(why)}" for label, why in left_out)]
    return "\n\n".join([*parts, EXPLANATION]) + "\n"


def circumstances(document: Mapping[str, Any]) -> str:
    """Machine and settings in two sentences."""
    machine, settings = document["machine"], document["settings"]
    decoding = settings["decoding"]
    search = "greedy" if decoding["n_beams"] == 1 else f"{decoding['n_beams']} beams"
    length = "to the end" if decoding["n_tokens"] is None else f"{decoding['n_tokens']} tokens a window"
    threads = "the program's choice of threads" if settings["threads"] is None else f"{settings['threads']} threads"
    order = "in turn" if settings["interleave"] else "one after the other"
    return (
        f"{machine['cpu']}, {machine['n_cores']} cores, {machine['system']}; {document['created'][:10]}. "
        f"Decoding: {search}, {length}. {settings['repeats']} warm runs, {order}, {threads}."
    )


def csv_text(results: Sequence[Result]) -> str:
    """A line for each point, those without a measurement among them."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    rows = [_flat(result) for result in results]
    writer.writerow(rows[0] if rows else [])
    writer.writerows(row.values() for row in rows)
    return lines.getvalue()


def _flat(result: Result) -> dict[str, Any]:
    content = result.to_dict()
    point = content.pop("point")
    warm, versions = content.pop("warm"), content.pop("versions")
    return {
        **point,
        **content,
        "warm": " ".join(f"{seconds:.6f}" for seconds in warm),
        "versions": " ".join(f"{name}={version}" for name, version in versions.items()),
    }


def _markdown_rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    header, *others = rows
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join(['---', *['--:'] * (len(header) - 1)])}|"
    yield from (f"| {' | '.join(map(_escaped, row))} |" for row in others)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _seconds(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _memory(result: Result) -> str:
    host = ABSENT if result.host_bytes is None else f"{result.host_bytes / 1e6:.0f}"
    return host if result.device_bytes is None else f"{host} + {result.device_bytes / 1e6:.0f}"
