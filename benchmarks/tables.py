"""Write the README's tables from the stored results, so that no number in it is typed by hand.

python benchmarks/tables.py [--check]
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- results: written by benchmarks/tables.py -->\n", "<!-- end of results -->"
WAYS = {"greedy": "greedy", "beam": "beam search, 5 beams²", "fallback": "command-line defaults, with fallback¹"}


def figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))["figures"]
    return found


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
    for engine in ("reference", "onnxruntime"):
        worst = max(max(by_engine[engine]) for by_engine in logits["largest_difference"].values())
        lines.append(
            f"| logits of random tiny, base and large-v3-like models, engine `{engine}` | within {rounded_up(worst)} |"
        )
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the README is up to date")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = before + BEGIN + "\n" + "\n".join([*agreement(), *speed(), *robustness()]) + END + after
    if check:
        raise SystemExit(
            0 if written == text else "README.md differs from the stored results: run benchmarks/tables.py"
        )
    README.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
