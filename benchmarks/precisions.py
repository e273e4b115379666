"""What int8 and int4 cost in words: the evaluation sets through the same model in every precision.

    python benchmarks/precisions.py --sets WORK/evaluation [--model nano] [--precisions fp32 int8 int4]
    python benchmarks/precisions.py --sets WORK/evaluation --decoding greedy --store half_precision \
                                    --precisions fp32 pytorch:bf16 pytorch:fp16 jax:bf16 jax:fp16

Greedily and without fallback to higher temperatures, so that every difference is the precision's, and with five beams,
as the command line does it by default. All sets that are speech in a known language, told to the model. Word errors are
those of all sets together, and of each; the difference to fp32 has a 95 % interval from drawing the clips anew, both
precisions' errors of a clip together (1,000 draws). QoI is the share of clips on which a precision is no worse than
fp32.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
from nano import datasets_in, weights_digest

import stagewhisper
from stagewhisper.evaluation import DataSet, Evaluation, beside_reference, evaluate

SETS = ("an4", "fsdd", "synthetic-en", "synthetic-en-other", "synthetic-de", "synthetic-es", "synthetic-fr")
DECODING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "5 beams": {"temperature": 0.0, "beam_size": 5},
}
DRAWS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--only", nargs="+", default=list(SETS), help="names of sets")
    parser.add_argument("--model", default="nano", help="name or folder of a checkpoint")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8", "int4"], metavar="[ENGINE:]PRECISION")
    parser.add_argument("--store", default="precisions", help="name of the results file")
    parser.add_argument("--decoding", nargs="+", choices=DECODING, default=list(DECODING))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only the first clips of each set; stores nothing")
    arguments = parser.parse_args()
    datasets = datasets_in(arguments.sets, only=arguments.only)
    if arguments.limit is not None:
        datasets = tuple(dataset.first(arguments.limit) for dataset in datasets)
    found: dict[str, Any] = {"model": {"name": Path(arguments.model).name, "sha256": weights_digest(arguments.model)}}
    for decoding in arguments.decoding:
        found[decoding] = in_all_precisions(arguments, datasets, DECODING[decoding])
        show(decoding, found[decoding])
    if arguments.limit is None and arguments.only == list(SETS):
        report.store(arguments.store, found)


def in_all_precisions(
    arguments: argparse.Namespace, datasets: Sequence[DataSet], options: dict[str, Any]
) -> dict[str, Any]:
    """The figures of each precision; the first is the one that the others are compared with."""
    rows: dict[str, Any] = {}
    reference: Evaluation | None = None
    for named in arguments.precisions:
        engine, _, precision = named.rpartition(":")
        model = stagewhisper.load(
            arguments.model, engine=engine or None, precision=precision, threads=arguments.threads
        )
        found = evaluate(model, datasets, normalizer="basic", force_language=True, **options)
        reference = reference or found
        rows[named] = row(found, reference)
    return rows


def row(found: Evaluation, reference: Evaluation) -> dict[str, Any]:
    compared = beside_reference(found, reference.to_dict())
    errors, n_words = errors_of(found)
    before, _ = errors_of(reference)
    sets = np.array([clip.dataset for clip in found.clips])
    return {
        "n_clips": len(found.clips),
        "n_failures": len(found.failures),
        "wer": float(errors.sum() / n_words.sum()),
        "difference": float((errors - before).sum() / n_words.sum()),
        "interval": interval(errors - before, n_words),
        "qoi": compared.summary.to_dict()["qoi"],
        "sets": {
            name: {
                "wer": float(errors[sets == name].sum() / n_words[sets == name].sum()),
                "difference": float((errors - before)[sets == name].sum() / n_words[sets == name].sum()),
            }
            for name in dict.fromkeys(sets.tolist())
        },
    }


def errors_of(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Wrong words and true words of each clip."""
    words = [clip.words for clip in evaluation.clips]
    wrong = [counts.substitutions + counts.deletions + counts.insertions for counts in words]
    return np.array(wrong), np.array([counts.hits + counts.substitutions + counts.deletions for counts in words])


def interval(differences: np.ndarray, n_words: np.ndarray) -> tuple[float, float]:
    """95 % of the draws lie between these."""
    draws = np.random.default_rng(0).integers(0, len(n_words), (DRAWS, len(n_words)))
    rates = differences[draws].sum(axis=1) / n_words[draws].sum(axis=1)
    return float(np.percentile(rates, 2.5)), float(np.percentile(rates, 97.5))


def show(decoding: str, rows: dict[str, Any]) -> None:
    print(f"\n{decoding}: WER %, difference to the first with its 95 % interval, QoI %; then each set's WER")
    for precision, one in rows.items():
        low, high = one["interval"]
        of_sets = "  ".join(f"{name} {100 * figures['wer']:.2f}" for name, figures in one["sets"].items())
        difference = f"{100 * one['difference']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
        print(f"{precision:13} {100 * one['wer']:6.2f} {difference:24} {one['qoi']['percent']:6.2f}   {of_sets}")


if __name__ == "__main__":
    main()
