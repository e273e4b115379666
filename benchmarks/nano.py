"""How well nano hears: the evaluation sets of `training/evaluation_sets.py` through `stagewhisper evaluate`.

    python benchmarks/nano.py --model WORK/export-strangers/nano --sets WORK/evaluation --store nano_strangers
    python benchmarks/nano.py --sets WORK/evaluation --store nano

The first is the recipe's model before it has heard the people of the sets `fsdd` and `an4`: the honest figures. The
second is the shipped model, which was then tuned on all speakers. Users' defaults throughout: the language is detected,
temperatures fall back. Words are counted twice: one by one (basic normaliser, as AN4 is usually scored), and by
openai/whisper's English rules, which make "seven three nine" the single word 739.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import report

import stagewhisper
from stagewhisper.evaluation import Evaluation, Journal, evaluate, load_datasets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sets", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--store", default="nano", help="name of the results file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="where to write the evaluation with all its clips")
    parser.add_argument("--only", nargs="*", help="names of sets")
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.sets.glob("*/manifest.jsonl"))
    datasets = load_datasets([folder for folder in folders if not arguments.only or folder.name in arguments.only])
    model = stagewhisper.load(arguments.model, threads=arguments.threads)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for normalizer in ("basic", "english"):  # transcribed once: the second time the journal answers
            journal = Journal(Path(folder) / "clips.jsonl", model=arguments.model)
            about = {"name": "nano", "threads": arguments.threads}
            evaluation = evaluate(model, datasets, normalizer=normalizer, journal=journal, about=about)
            figures[normalizer] = by_set(evaluation)
            show(normalizer, figures[normalizer])
            if arguments.clips:
                arguments.clips.write_text(json.dumps(evaluation.to_dict()), encoding="utf-8")
    report.store(arguments.store, figures)


def by_set(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of every set, by its name, and of all."""
    sets = {row.name: row.figures.to_dict() for row in evaluation.rows if row.by == "subset"}
    return {**sets, "all": evaluation.summary.to_dict()}


def show(normalizer: str, sets: dict[str, Any]) -> None:
    print(f"\n{normalizer} normaliser: WER with its 95 % interval, CER, language, times within 0.1 s, text on silence")
    for name, row in sets.items():
        wer, language, timing, silence = row["wer"], row["language"], row["timing"], row["silence"]
        low, high = wer["interval"] or (None, None)
        columns = (
            f"{name:20} {row['n_clips']:5}",
            f"{_percent(wer['rate'])} [{_percent(low)}, {_percent(high)}]",
            _percent(row["cer"]["rate"]),
            _percent(language["share"]),
            _percent(timing["share"]),
            f"{silence['n_with_text']}/{silence['n_clips']}",
            f"fallbacks {row['n_fallbacks']}/{row['n_windows']}",
            f"rtf {row['rtf']:.3f}",
        )
        print("  ".join(columns))


def _percent(share: float | None) -> str:
    return "     –" if share is None else f"{100 * share:6.2f}"


if __name__ == "__main__":
    main()
