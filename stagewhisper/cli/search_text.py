"""The error rates of a search's points: every bundle transcribes the same clips, beside the reference's bundle.

Finished clips go into a journal in the search's folder, so that a search that was stopped goes on in the middle of a
point, and the reference is transcribed once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.errors import CompilerError, DataSetError, ModelError

if TYPE_CHECKING:
    from stagewhisper.bundle import Bundle
    from stagewhisper.compiler.recipe_search import Evaluator
    from stagewhisper.evaluation import DataSet, Evaluation

JOURNAL = "clips.jsonl"


class TextMeasurer:
    """Measures `wer`, `cer` and `qoi` of bundles; the data sets are read once."""

    def __init__(
        self,
        evaluators: "Sequence[Evaluator]",
        folder: Path,
        *,
        threads: int | None,
        normalizer: str,
        force_language: bool,
        on_clip: Callable[[int, int], None] | None = None,
    ) -> None:
        """`on_clip` is told how many clips of how many are done.

        Raises:
            DataSetError: a data set cannot be read.
            OptionError: there is no such normaliser.
            StagewhisperError: a package that evaluations need is missing.
        """
        from stagewhisper.compiler.search_goals import data_groups
        from stagewhisper.evaluation import load_datasets, score

        score([("", "")], normalizer=normalizer)  # a missing package must not cost measuring the reference
        self._datasets = {(data, limit): load_datasets(data, limit=limit) for data, limit in data_groups(evaluators)}
        self._folder, self._threads = folder, threads
        self._options: dict[str, Any] = {"normalizer": normalizer, "force_language": force_language}
        self._references: dict[tuple[str, Any], dict[str, Any]] = {}
        self._on_clip = on_clip

    def __call__(
        self, bundle: "Bundle", reference: "Bundle", data: tuple[str, ...], limit: int | None
    ) -> Mapping[str, float]:
        """The values in per cent.

        Raises:
            CompilerError: the bundle cannot be run, or fails on a clip.
            DataSetError: the reference fails on a clip, or there are no words in the clips.
        """
        from stagewhisper.evaluation import beside_reference

        key = (reference.recipe_digest, (data, limit))
        if key not in self._references:
            evaluation = self._evaluated(reference, self._datasets[data, limit])
            _check_reference(evaluation)
            self._references[key] = evaluation.to_dict()
        evaluation = self._evaluated(bundle, self._datasets[data, limit])
        for failure in evaluation.failures:
            raise CompilerError(f"The compiled model fails on {failure.audio}: {failure.error}")
        figures = beside_reference(evaluation, self._references[key]).summary
        assert figures.qoi is not None, "it stands beside the reference"  # noqa: S101
        found = {"wer": _percent(figures.wer.rate), "cer": _percent(figures.cer.rate), "qoi": figures.qoi.percent}
        return {name: value for name, value in found.items() if value is not None}

    def digest(self) -> str:
        """SHA-256 of the clips, their texts, and how they are compared; it changes when a recording does."""
        clips = [
            [item.id, item.text, item.language, item.task, item.source.stamp()]
            for datasets in self._datasets.values()
            for dataset in datasets
            for item in dataset.items
        ]
        return hashlib.sha256(json.dumps([clips, self._options]).encode()).hexdigest()

    def _evaluated(self, bundle: "Bundle", datasets: "Sequence[DataSet]") -> "Evaluation":
        from stagewhisper.evaluation import Journal, evaluate
        from stagewhisper.model import load

        try:
            model = load(bundle.path, threads=self._threads)
        except ModelError as error:
            raise CompilerError(str(error)) from error
        journal = Journal(
            self._folder / JOURNAL,
            model=json.dumps([bundle.source_digest, bundle.recipe_digest, bundle.compiler, self._threads]),
        )
        n_clips = sum(len(dataset.items) for dataset in datasets)
        tell = self._on_clip
        on_clip = None if tell is None else lambda n_done: tell(n_done, n_clips)
        return evaluate(model, datasets, journal=journal, on_clip=on_clip, **self._options)


def _percent(rate: float | None) -> float | None:
    return None if rate is None else 100 * rate


def _check_reference(evaluation: "Evaluation") -> None:
    for failure in evaluation.failures:
        raise DataSetError(f"{failure.audio} cannot be transcribed: {failure.error} Take it out of the data set.")
    if evaluation.summary.wer.rate is None:
        names = ", ".join(dataset.name for dataset in evaluation.datasets)
        raise DataSetError(f"No words are said in the clips of {names}. Name data sets with texts, or a higher limit.")
