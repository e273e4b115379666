"""Beside a reference model, or an earlier run: quality of inference.

QoI asks of each clip whether the model does no worse there, so that a model that is compressed or ported is noticed
when it fails other clips than the original, even at an equal word error rate.

Source: argmaxinc/WhisperKit.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stagewhisper.errors import DataSetError
from stagewhisper.evaluation.bootstrap import error_rates
from stagewhisper.evaluation.comparison import compare_texts
from stagewhisper.evaluation.figures import figures, rows
from stagewhisper.evaluation.items import DataSet
from stagewhisper.evaluation.normalization import normalizer_for, text_language
from stagewhisper.evaluation.results import FORMAT, Clip, Evaluation, ReferenceClip, ReferenceModel

_NOTHING_IN_COMMON = "The reference has none of these clips. Evaluate it on the same data sets, for the same task."


def beside_reference(evaluation: Evaluation, reference: Mapping[str, Any]) -> Evaluation:
    """`evaluation` with QoI and, for each clip, what the reference model made of it.

    `reference` is the JSON document of the reference model's evaluation. Clips are found by `id`; one whose reference
    text is another there is not compared. Its texts are normalised and counted anew.

    Raises:
        DataSetError: the two have no clip in common.
    """
    texts = {clip["id"]: clip for clip in reference["clips"]}
    clips = tuple(_beside(clip, texts.get(clip.id), evaluation.normalizer) for clip in evaluation.clips)
    words = [clip.reference_model.words for clip in clips if clip.reference_model is not None]
    if evaluation.clips and not words:
        raise DataSetError(_NOTHING_IN_COMMON)
    (wer,) = error_rates(words)
    return replace(
        evaluation,
        clips=clips,
        summary=figures(clips, evaluation.failures, compared=True),
        rows=rows(clips, evaluation.failures, compared=True),
        reference_model=ReferenceModel(str(reference["model"].get("name", "")), wer),
    )


def require_common_clips(datasets: Iterable[DataSet], reference: Mapping[str, Any], *, task: str) -> None:
    """Raise before anything is transcribed what `beside_reference` would raise at the end.

    `task` is that of items which name none.

    Raises:
        DataSetError: the document has none of the data sets' clips with the same text and task.
    """
    known = {(clip["id"], clip["reference"], clip["task"]) for clip in reference["clips"]}
    items = [item for dataset in datasets for item in dataset.items]
    if items and not any((item.id, item.text, item.task or task) in known for item in items):
        raise DataSetError(_NOTHING_IN_COMMON)


def read_document(path: str | Path) -> dict[str, Any]:
    """The JSON document of an evaluation, from the file that `stagewhisper evaluate --json` wrote.

    Raises:
        DataSetError: it cannot be read, or is no such document.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataSetError(f"The results {str(path)!r} cannot be read: {error}.") from error
    if not _is_document(document):
        raise DataSetError(
            f"{str(path)!r} holds no results of an evaluation in format {FORMAT}. "
            "Give a file that `stagewhisper evaluate --json` wrote."
        )
    return dict(document)


def _beside(clip: Clip, other: Mapping[str, Any] | None, normalizer_name: str) -> Clip:
    if other is None or other["reference"] != clip.reference or other["task"] != clip.task:
        return clip
    normalize = normalizer_for(normalizer_name, language=text_language(clip.language, task=clip.task))
    words = compare_texts(clip.reference, other["hypothesis"], normalize=normalize).words
    return replace(clip, reference_model=ReferenceClip(other["hypothesis"], words))


def _is_document(document: Any) -> bool:
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        return False
    clips, texts = document.get("clips"), ("id", "reference", "hypothesis", "task")
    if not isinstance(clips, list) or not isinstance(document.get("model"), Mapping):
        return False
    return all(isinstance(clip, Mapping) and all(isinstance(clip.get(name), str) for name in texts) for clip in clips)
