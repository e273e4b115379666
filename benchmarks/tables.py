"""Write the tables of README and model card from the stored results, so that no number in them is typed by hand.

python benchmarks/tables.py [--check]
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import speed_results
from nano_results import card_lines, readme_lines

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
SPEED = HERE.parent / "docs" / "speed.md"
MODEL_CARD = HERE.parent / "stagewhisper" / "assets" / "nano" / "README.md"
BEGIN, END = "<!-- results: written by benchmarks/tables.py -->\n", "<!-- end of results -->"
WAYS = {"greedy": "greedy", "beam": "beam search, 5 beams²", "fallback": "command-line defaults, with fallback¹"}


def figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))["figures"]
    return found


def is_stored(name: str) -> bool:
    return (HERE / "results" / f"{name}.json").is_file()


def agreement() -> list[str]:
    """How far we equal openai-whisper."""
    logits, mel = figures("logits"), figures("mel")
    transcripts = {way: figures(f"transcripts_{way}") for way in WAYS}
    lines = [
        f"Against {transcripts['greedy']['oracle']}, the same samples and weights on both sides:",
        "",
        "| | equal |",
        "|---|---|",
    ]
    for way, title in WAYS.items():
        row = transcripts[way]
        lines.append(
            f"| text, tokens, timestamps and language of real recordings, {title} "
            f"| **{row['agreed']} of {row['recordings']}** |"
        )
    for engine in next(iter(logits["largest_difference"].values())):
        worst = max(max(by_engine[engine]) for by_engine in logits["largest_difference"].values())
        lines.append(
            f"| logits of random tiny, base and large-v3-like models, engine `{engine}` | within {rounded_up(worst)} |"
        )
    if is_stored("engines"):
        lines += between_engines(figures("engines"))
    worst = max(mel[n_mels]["max_abs_difference_speech"] for n_mels in ("80", "128"))
    lines.append(f"| log-Mel spectrogram of real recordings | within {rounded_up(worst)} |")
    ties = figures("ties")
    ours, theirs = ties["our scores of the rivals"], ties["their scores of the rivals"]
    lines += [
        "",
        f"² {ties['recording']} is a tie: after {ties['tokens so far']} tokens two rivals score {ours[0]:.4f} and "
        f"{ours[1]:.4f} on our side, {theirs[0]:.4f} and {theirs[1]:.4f} on the other.",
    ]
    lines += ["", "¹ with our seeded draws put into openai-whisper, whose own cannot be repeated outside torch.", ""]
    return lines


def between_engines(found: dict[str, Any]) -> list[str]:
    """How far the other engines equal the reference engine."""
    lines = []
    for way in ("greedy", "beam"):
        agreed = ", ".join(f"`{name}` {row['agreed']}" for name, row in found.get(way, {}).items())
        if agreed:
            lines.append(f"| the same, engines against `reference`, {way} | {agreed} of {found['recordings']} |")
    return lines


def rounded_up(value: float) -> str:
    """One digit, never less than the value."""
    exponent = math.floor(math.log10(value))
    return f"{math.ceil(value / 10**exponent)}e{exponent:03d}"


def speed() -> list[str]:
    """Seconds of a window."""
    seconds = figures("window")["seconds"]
    lines = [
        "One window (30 s of audio, 100 tokens, greedy, fp32) on 2 cores with AVX512-VNNI, median of 5 rounds in turn:",
        "",
        "| model | threads | openai-whisper | stagewhisper | ratio |",
        "|---|---|---|---|---|",
    ]
    for shape, by_threads in seconds.items():
        for threads, row in by_threads.items():
            ours, theirs = row["ours"]["window"], row["openai"]["window"]
            lines.append(f"| {shape} | {threads} | {theirs:.2f} s | {ours:.2f} s | **{theirs / ours:.1f}×** |")
    return [*lines, ""]


def robustness() -> list[str]:
    """What damaged files do."""
    found = figures("damaged_inputs")
    outcomes = {kind: row for kind, row in found["outcomes"].items() if kind != "good"}
    refused = sum(row.get("refused", 0) for row in outcomes.values())
    good, faults = found["outcomes"]["good"]["done"], len(found["faults"])
    return [
        f"{found['damaged']} damaged recordings in {found['calls']} calls of the command line: {refused} refused in "
        f"one line each, {found['damaged'] - refused} transcribed as far as they could be read, {good} good ones "
        f"between them done, {faults} crashes, hangs or lost files.",
        "",
    ]


def peers() -> list[str]:
    """How many transcripts of other programs with our checkpoint equal ours, by data set."""
    found = figures("nano_peers")
    names = found["same_input"]
    lines = [f"| same text as ours | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for name, row in found["sets"].items():
        same = (f"{row['peers'][peer]['same_text']} of {row['clips']}" for peer in names)
        lines.append(f"| {name} | {' | '.join(same)} |")
    return [*lines, ""]


def compiled_speed() -> list[str]:
    """The document about speed: every result that is stored, under a heading of its own."""
    sections = {
        "compiled_peers": ("Every program, every form", speed_results.peer_tables),
        "precisions": ("What precisions cost in words", speed_results.precision_table),
        "decoder_step": ("What each pass is worth", speed_results.step_tables),
        "foreign_exports": ("Graphs that others exported", speed_results.foreign_table),
        "compile": ("What compiling takes", speed_results.compile_table),
    }
    lines = []
    for name, (title, tables) in sections.items():
        if is_stored(name):
            lines += [f"## {title}", "", f"`benchmarks/{name}.py`", "", *tables(figures(name))]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    for path, lines in documents().items():
        text = path.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        written = before + BEGIN + "\n" + "\n".join(lines) + END + after
        if check and written != text:
            raise SystemExit(f"{path} differs from the stored results: run benchmarks/tables.py")
        if not check:
            path.write_text(written, encoding="utf-8")


def documents() -> dict[Path, list[str]]:
    """What stands between the marks of each document."""
    nano = [figures(name) if is_stored(name) else None for name in ("nano", "nano_strangers")]
    fast = [figures(name) if is_stored(name) else None for name in ("compiled_peers", "precisions")]
    same_text = peers() if is_stored("nano_peers") else []
    in_short = speed_results.readme_lines(*fast)
    return {
        README: [*agreement(), *speed(), *in_short, *robustness(), *readme_lines(*nano)],
        SPEED: compiled_speed(),
        MODEL_CARD: [*card_lines(*nano), *same_text],
    }


if __name__ == "__main__":
    main()
