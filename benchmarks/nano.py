"""How well nano hears: the evaluation sets of `training/evaluation_sets.py` through `stagewhisper evaluate`.

    python benchmarks/nano.py --model WORK/export-strangers/nano --sets WORK/evaluation --store nano_strangers
    python benchmarks/nano.py --sets WORK/evaluation --store nano

The first is the recipe's model before it has heard the people of the sets `fsdd` and `an4`: the honest figures. The
second is the shipped model, which was then tuned on all speakers. As `stagewhisper evaluate` does it by default: the
language is detected, five beams, temperatures fall back. Words are counted twice: one by one (basic normaliser, as AN4
is usually scored), and by openai/whisper's English rules, which make "seven three nine" the single word 739.

With `--only` the figures are shown and not stored, for the documents want all sets.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report

import stagewhisper
from stagewhisper.cli.evaluate_options import add_options
from stagewhisper.cli.transcribe_settings import decoding_options
from stagewhisper.evaluation import DataSet, Evaluation, Journal, evaluate, load_datasets
from stagewhisper.evaluation.figures import figures
from stagewhisper.hub import find_model

NORMALIZERS = ("basic", "english")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="name or folder of a checkpoint")
    parser.add_argument("--sets", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--store", default="nano", help="name of the results file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="where to write all clips: CLIPS-basic.json and CLIPS-english.json")
    parser.add_argument("--only", nargs="+", default=[], help="names of sets; stores nothing")
    arguments = parser.parse_args()
    datasets = datasets_in(arguments.sets, only=arguments.only)
    about = {"name": Path(arguments.model).name, "sha256": weights_digest(arguments.model)}
    options = command_line_options()
    found: dict[str, Any] = {"model": about, "options": options}
    model = stagewhisper.load(arguments.model, threads=arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        for normalizer in NORMALIZERS:  # transcribed once: the second time the journal answers
            journal = Journal(Path(folder) / "clips.jsonl", model=about["sha256"])
            measured = evaluate(
                model,
                datasets,
                normalizer=normalizer,
                journal=journal,
                about={**about, "threads": arguments.threads},
                **options,
            )
            found[normalizer] = by_set(measured)
            show(normalizer, found[normalizer])
            if arguments.clips is not None:
                path = arguments.clips.with_name(f"{arguments.clips.stem}-{normalizer}.json")
                path.write_text(json.dumps(measured.to_dict()), encoding="utf-8")
    if not arguments.only:
        report.store(arguments.store, found)


def command_line_options() -> dict[str, Any]:
    """The defaults of `stagewhisper evaluate`; the library's are others."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return decoding_options(parser.parse_args(["set"]))


def datasets_in(folder: Path, *, only: Sequence[str] = ()) -> tuple[DataSet, ...]:
    """The data sets in the sub-folders, or those of these names."""
    folders = {path.parent.name: path.parent for path in sorted(folder.glob("*/manifest.jsonl"))}
    missing = sorted(set(only) - set(folders))
    if missing or not folders:
        raise SystemExit(
            f"No set {', '.join(missing) or 'at all'} in {folder}. There are: {', '.join(folders) or '-'}."
        )
    return load_datasets([folders[name] for name in only or folders])


def weights_digest(model: str) -> str:
    """SHA-256 of the weights' file, by which stored figures are known to be of a model."""
    path = find_model(model)
    weights = path / "model.safetensors" if path.is_dir() else path
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def by_set(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of every set, by its name, and of all."""
    sets = {}
    for dataset in evaluation.datasets:
        clips = [clip for clip in evaluation.clips if clip.dataset == dataset.name]
        failures = [failure for failure in evaluation.failures if failure.dataset == dataset.name]
        sets[dataset.name] = figures(clips, failures).to_dict()
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
