"""From the results of single clips to the measures of all of them, and of each language, subset, task and data set."""

from collections.abc import Iterable, Sequence

import numpy as np

from stagewhisper.evaluation.bootstrap import error_rates
from stagewhisper.evaluation.results import (
    Clip,
    Failure,
    Figures,
    LanguageAccuracy,
    Qoi,
    Row,
    Silence,
    TimingAccuracy,
)
from stagewhisper.languages import LANGUAGES

TIMING_TOLERANCE = 0.1
_ROUNDING = 1e-6  # 1.1 - 1.0 is a little more than 0.1
_UNKNOWN = "unknown"


def figures(clips: Sequence[Clip], failures: Sequence[Failure], *, compared: bool = False) -> Figures:
    """All measures of these clips; `compared` says whether a reference model was named."""
    wer, cer = error_rates([clip.words for clip in clips], [clip.characters for clip in clips])
    return Figures(
        n_clips=len(clips),
        n_failures=len(failures),
        wer=wer,
        cer=cer,
        duration=sum((clip.duration for clip in clips), 0.0),
        elapsed=sum((clip.elapsed for clip in clips), 0.0),
        n_windows=sum(clip.n_windows for clip in clips),
        n_fallbacks=sum(clip.n_fallbacks for clip in clips),
        n_five_gram_insertions=sum(clip.n_five_gram_insertions for clip in clips),
        n_clips_with_five_gram_insertions=sum(clip.n_five_gram_insertions > 0 for clip in clips),
        language=_language(clips),
        timing=_timing(clips),
        silence=_silence(clips),
        qoi=_qoi(clips) if compared else None,
    )


def rows(clips: Sequence[Clip], failures: Sequence[Failure], *, compared: bool = False) -> tuple[Row, ...]:
    """A row for each language, and for each subset, task and data set where there is more than one."""
    found = []
    for by in ("language", "subset", "task", "dataset"):
        both: list[Clip | Failure] = [*clips, *failures]
        names = list(dict.fromkeys(_name(each, by) for each in both))
        if by == "language" or len(names) > 1:
            for name in names:
                group = [clip for clip in clips if _name(clip, by) == name]
                failed = [failure for failure in failures if _name(failure, by) == name]
                found.append(Row(by, name, figures(group, failed, compared=compared)))
    return tuple(found)


def _name(clip: Clip | Failure, by: str) -> str:
    return str(getattr(clip, by) or _UNKNOWN)


def _language(clips: Iterable[Clip]) -> LanguageAccuracy:
    spoken = (clip for clip in clips if not clip.is_silence)
    judged = [clip for clip in spoken if clip.detected_language is not None and clip.language in LANGUAGES]
    return LanguageAccuracy(len(judged), sum(clip.detected_language == clip.language for clip in judged))


def _timing(clips: Iterable[Clip]) -> TimingAccuracy:
    judged = [clip for clip in clips if clip.has_times]
    errors = [
        (abs(c.start_error), abs(c.end_error)) for c in judged if c.start_error is not None and c.end_error is not None
    ]
    within = [max(pair) <= TIMING_TOLERANCE + _ROUNDING for pair in errors]
    median, p90 = np.quantile(errors, [0.5, 0.9]) if errors else (None, None)
    return TimingAccuracy(
        n_judged=len(judged),
        n_within=sum(within),
        tolerance=TIMING_TOLERANCE,
        median_error=None if median is None else float(median),
        p90_error=None if p90 is None else float(p90),
    )


def _silence(clips: Iterable[Clip]) -> Silence:
    silent = [clip for clip in clips if clip.is_silence]
    return Silence(len(silent), sum(bool(clip.hypothesis.strip()) for clip in silent))


def _qoi(clips: Iterable[Clip]) -> Qoi:
    # Both models are judged by one reference, so comparing errors is comparing rates, and serves silence too.
    pairs = [(clip.words, clip.reference_model.words) for clip in clips if clip.reference_model is not None]
    return Qoi(len(pairs), sum(ours.n_errors <= theirs.n_errors for ours, theirs in pairs))
