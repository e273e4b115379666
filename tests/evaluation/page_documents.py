"""Documents to make pages of, through the classes that an evaluation gives back."""

import json
from dataclasses import replace
from typing import Any

from stagewhisper.evaluation.results import (
    Clip,
    DataSetSummary,
    DiffPiece,
    EditCounts,
    ErrorRate,
    Evaluation,
    Failure,
    Figures,
    LanguageAccuracy,
    Qoi,
    ReferenceClip,
    ReferenceModel,
    Row,
    Silence,
    TimingAccuracy,
)


def pieces(*runs: tuple[str, str]) -> tuple[DiffPiece, ...]:
    """A diff of (reference, hypothesis) runs; equal texts are an equal run."""
    return tuple(_piece(tuple(reference.split()), tuple(hypothesis.split())) for reference, hypothesis in runs)


def _piece(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> DiffPiece:
    if not hypothesis:
        return DiffPiece("delete", reference, ())
    if not reference:
        return DiffPiece("insert", (), hypothesis)
    return DiffPiece("equal" if reference == hypothesis else "substitute", reference, hypothesis)


def clip(*runs: tuple[str, str], name: str = "one.wav", **fields: Any) -> Clip:
    """A clip whose diff has these runs, and whose texts and counts follow from it."""
    diff = pieces(*runs)
    made = Clip(
        id=f"set/{name}",
        dataset="set",
        audio=name,
        reference=" ".join(word for piece in diff for word in piece.reference),
        hypothesis=" ".join(word for piece in diff for word in piece.hypothesis),
        language="en",
        detected_language="en",
        task="transcribe",
        subset=None,
        speaker=None,
        duration=2.0,
        elapsed=0.25,
        words=_counts(diff),
        characters=EditCounts(hits=9, substitutions=1),
        diff=diff,
        n_five_gram_insertions=0,
        n_windows=1,
        n_fallbacks=0,
        start_error=0.01,
        end_error=-0.02,
        has_times=True,
    )
    return replace(made, **fields)


def _counts(diff: tuple[DiffPiece, ...]) -> EditCounts:
    n_words = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for piece in diff:
        n_words[piece.op] += max(len(piece.reference), len(piece.hypothesis))
    return EditCounts(n_words["equal"], n_words["substitute"], n_words["delete"], n_words["insert"])


FIGURES = Figures(
    n_clips=1234,
    n_failures=2,
    wer=ErrorRate(EditCounts(hits=950, substitutions=30, deletions=20, insertions=7), (0.041, 0.0725)),
    cer=ErrorRate(EditCounts(hits=3900, substitutions=60, deletions=40, insertions=11), (0.02, 0.03)),
    duration=3725.0,
    elapsed=298.0,
    n_windows=1300,
    n_fallbacks=17,
    n_five_gram_insertions=9,
    n_clips_with_five_gram_insertions=4,
    language=LanguageAccuracy(n_judged=1200, n_right=1176),
    timing=TimingAccuracy(n_judged=800, n_within=744, tolerance=0.1, median_error=0.03, p90_error=0.085),
    silence=Silence(n_clips=100, n_with_text=3),
    qoi=Qoi(n_compared=1234, n_no_worse=1172),
)

NOTHING = Figures(
    n_clips=0,
    n_failures=0,
    wer=ErrorRate(EditCounts()),
    cer=ErrorRate(EditCounts()),
    duration=0.0,
    elapsed=0.0,
    n_windows=0,
    n_fallbacks=0,
    n_five_gram_insertions=0,
    n_clips_with_five_gram_insertions=0,
    language=LanguageAccuracy(0, 0),
    timing=TimingAccuracy(0, 0, 0.1, None, None),
    silence=Silence(0, 0),
    qoi=None,
)


def document(*clips: Clip, **fields: Any) -> dict[str, Any]:
    """An evaluation's document as it comes back from its JSON file."""
    german = replace(FIGURES, wer=ErrorRate(EditCounts(hits=88, substitutions=12), (0.08, 0.18)), n_clips=40)
    evaluation = Evaluation(
        model={"name": "nano", "engine": "onnxruntime", "device": "cpu", "precision": "fp32", "load_elapsed": 0.4},
        options={"language": None, "temperature": [0.0, 0.2], "condition_on_previous_text": True},
        normalizer="auto",
        machine={"cpu": "A Fine Processor", "n_cores": 2, "threads": None, "system": "Linux"},
        versions={"stagewhisper": "1.2.3", "python": "3.11.9"},
        datasets=(DataSetSummary("set", 1236, 5),),
        summary=FIGURES,
        rows=(Row("language", "de", german), Row("language", "en", FIGURES), Row("subset", "quiet", NOTHING)),
        clips=clips,
        failures=(failure(),),
        reference_model=ReferenceModel("tiny", ErrorRate(EditCounts(hits=96, substitutions=4), (0.03, 0.05))),
        created="2026-03-01T12:30:00+00:00",
    )
    return json.loads(json.dumps(replace(evaluation, **fields).to_dict()))


def failure(**fields: Any) -> Failure:
    broken = Failure("set/broken.wav", "set", "broken.wav", "en", "transcribe", None, "broken.wav is empty.")
    return replace(broken, **fields)


def reference_clip(hypothesis: str) -> ReferenceClip:
    return ReferenceClip(hypothesis, EditCounts(hits=1))
