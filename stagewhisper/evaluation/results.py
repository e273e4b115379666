"""What an evaluation gives back, and the JSON document that it becomes.

    Evaluation ─► summary: Figures
               ─► rows: Row, one per language, subset, task and data set, each with Figures
               ─► clips: Clip, each with its edit counts and its word-level diff
               ─► failures: Failure, clips that could not be read or decoded

Every class has `to_dict`, whose keys are its fields and the measures derived from them. Shares and rates lie between 0
and 1 (an error rate may exceed 1), durations are seconds, and a measure that nothing was there to judge by is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FORMAT = 1
"""Number of the document's format; it grows when a key changes its meaning or goes."""

DiffOp = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class EditCounts:
    """How many words, or characters, the alignment of a text with its reference matched, replaced, lost and added."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def n_reference(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def n_errors(self) -> int:
        """Edits that turn the reference into the text."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per word (or character) of the reference; None when the reference is empty."""
        return self.n_errors / self.n_reference if self.n_reference else None

    def __add__(self, other: "EditCounts") -> "EditCounts":
        return EditCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    def to_dict(self) -> dict[str, Any]:
        """`rate`, the four counts, and `n_reference`."""
        return {
            "rate": self.rate,
            "hits": self.hits,
            "substitutions": self.substitutions,
            "deletions": self.deletions,
            "insertions": self.insertions,
            "n_reference": self.n_reference,
        }


@dataclass(frozen=True)
class ErrorRate:
    """The edit counts of several clips together, and how far their rate can be trusted."""

    counts: EditCounts
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the rate over clips; None for fewer than two clips, or no reference words."""

    @property
    def rate(self) -> float | None:
        """Errors per word (or character) of all references together."""
        return self.counts.rate

    def to_dict(self) -> dict[str, Any]:
        """The counts' dictionary and `interval`, a list [low, high] or None."""
        return {**self.counts.to_dict(), "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True)
class LanguageAccuracy:
    """How often the detected language was the true one."""

    n_judged: int
    """Clips in which something is said, whose language was detected and whose true one is known to Whisper."""
    n_right: int

    @property
    def share(self) -> float | None:
        """Part of the judged clips that was right."""
        return self.n_right / self.n_judged if self.n_judged else None

    def to_dict(self) -> dict[str, Any]:
        """The fields and `share`."""
        return {"n_judged": self.n_judged, "n_right": self.n_right, "share": self.share}


@dataclass(frozen=True)
class TimingAccuracy:
    """How near the start and the end of all speech, as the model's timestamps have them, are to the truth."""

    n_judged: int
    """Clips whose true times are known."""
    n_within: int
    """Clips whose start and end both lie within `tolerance` of the truth; one without text does not."""
    tolerance: float
    median_error: float | None
    """Of the absolute errors of starts and ends, taken together."""
    p90_error: float | None
    """Nine in ten of these errors are at most this."""

    @property
    def share(self) -> float | None:
        """Part of the judged clips that was within the tolerance."""
        return self.n_within / self.n_judged if self.n_judged else None

    def to_dict(self) -> dict[str, Any]:
        """The fields and `share`."""
        return {
            "n_judged": self.n_judged,
            "n_within": self.n_within,
            "share": self.share,
            "tolerance": self.tolerance,
            "median_error": self.median_error,
            "p90_error": self.p90_error,
        }


@dataclass(frozen=True)
class Silence:
    """What the model made of clips in which nothing is said."""

    n_clips: int
    """Clips whose reference is empty."""
    n_with_text: int
    """Those of them that got any text."""

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"n_clips": self.n_clips, "n_with_text": self.n_with_text}


@dataclass(frozen=True)
class Qoi:
    """Quality of inference: how often the model is no worse than a reference model on the same clip.

    Source: argmaxinc/WhisperKit.
    """

    n_compared: int
    """Clips that both models transcribed."""
    n_no_worse: int
    """Those on which this model made no more errors."""

    @property
    def percent(self) -> float | None:
        """100 · mean(WER(model, i) ≤ WER(reference, i))."""
        return 100 * self.n_no_worse / self.n_compared if self.n_compared else None

    def to_dict(self) -> dict[str, Any]:
        """The fields and `percent`."""
        return {"n_compared": self.n_compared, "n_no_worse": self.n_no_worse, "percent": self.percent}


@dataclass(frozen=True)
class Figures:
    """All measures of a group of clips."""

    n_clips: int
    """Clips that were transcribed."""
    n_failures: int
    """Clips that could not be; no other measure counts them."""
    wer: ErrorRate
    """Words."""
    cer: ErrorRate
    """Characters, the spaces between words included."""
    duration: float
    """Of the audio."""
    elapsed: float
    """From opening each recording to its transcript; loading the model and warming up are not in it."""
    n_windows: int
    """Windows of up to 30 s that gave text."""
    n_fallbacks: int
    """Those of them that did not pass at the first temperature."""
    n_five_gram_insertions: int
    """Sequences of five words in a row that the alignment finds inserted: hallucinated text, or a loop."""
    n_clips_with_five_gram_insertions: int
    language: LanguageAccuracy
    timing: TimingAccuracy
    silence: Silence
    qoi: Qoi | None
    """None unless a reference model was named."""

    @property
    def rtf(self) -> float | None:
        """Real-time factor: seconds of work per second of audio."""
        return self.elapsed / self.duration if self.duration else None

    def to_dict(self) -> dict[str, Any]:
        """The fields, those that are results as dictionaries, and `rtf`."""
        return {
            "n_clips": self.n_clips,
            "n_failures": self.n_failures,
            "wer": self.wer.to_dict(),
            "cer": self.cer.to_dict(),
            "duration": self.duration,
            "elapsed": self.elapsed,
            "rtf": self.rtf,
            "n_windows": self.n_windows,
            "n_fallbacks": self.n_fallbacks,
            "n_five_gram_insertions": self.n_five_gram_insertions,
            "n_clips_with_five_gram_insertions": self.n_clips_with_five_gram_insertions,
            "language": self.language.to_dict(),
            "timing": self.timing.to_dict(),
            "silence": self.silence.to_dict(),
            "qoi": None if self.qoi is None else self.qoi.to_dict(),
        }


@dataclass(frozen=True)
class Row:
    """The figures of the clips that have one thing in common."""

    by: str
    """What they have in common: "language", "subset", "task" or "dataset"."""
    name: str
    """Its value: "en", "test-other"; "unknown" where the data set does not say."""
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """`by`, `name`, and the figures' keys beside them."""
        return {"by": self.by, "name": self.name, **self.figures.to_dict()}


@dataclass(frozen=True)
class DiffPiece:
    """A run of words that the alignment treats alike; a substitution has equally many on both sides."""

    op: DiffOp
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields, words as lists."""
        return {"op": self.op, "reference": list(self.reference), "hypothesis": list(self.hypothesis)}


@dataclass(frozen=True)
class ReferenceClip:
    """What the reference model wrote for a clip."""

    hypothesis: str
    words: EditCounts

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"hypothesis": self.hypothesis, "words": self.words.to_dict()}


@dataclass(frozen=True)
class Clip:
    """One clip: the truth, what the model wrote, and how they differ."""

    id: str
    """Unique in the evaluation: the data set's name and the recording's place in it. `audio_of` is asked with it."""
    dataset: str
    audio: str
    """The recording's path as the data set has it, or a name for one inside a table."""
    reference: str
    """The true text as the data set has it; empty when nothing is said."""
    hypothesis: str
    """The model's text as it wrote it."""
    language: str | None
    """The language spoken, if the data set tells."""
    detected_language: str | None
    """None when the language was given to the model."""
    task: str
    """"transcribe" or "translate"."""
    subset: str | None
    speaker: str | None
    duration: float
    elapsed: float
    words: EditCounts
    """After normalisation, as `characters` and `diff`."""
    characters: EditCounts
    diff: tuple[DiffPiece, ...]
    n_five_gram_insertions: int
    n_windows: int
    n_fallbacks: int
    start_error: float | None
    """Start by the model's timestamps (`speech_times.py`) minus the true one; None when that or the text is missing."""
    end_error: float | None
    has_times: bool
    """Whether the data set tells the true times."""
    reference_model: ReferenceClip | None = None

    @property
    def is_silence(self) -> bool:
        """Whether nothing is said in it; "Um." is something, though normalisers leave nothing of it."""
        return not self.reference.strip()

    @property
    def rtf(self) -> float | None:
        """Real-time factor."""
        return self.elapsed / self.duration if self.duration else None

    def to_dict(self) -> dict[str, Any]:
        """The fields, those that are results as dictionaries, `is_silence` and `rtf`."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "audio": self.audio,
            "reference": self.reference,
            "hypothesis": self.hypothesis,
            "language": self.language,
            "detected_language": self.detected_language,
            "task": self.task,
            "subset": self.subset,
            "speaker": self.speaker,
            "duration": self.duration,
            "elapsed": self.elapsed,
            "rtf": self.rtf,
            "is_silence": self.is_silence,
            "words": self.words.to_dict(),
            "characters": self.characters.to_dict(),
            "diff": [piece.to_dict() for piece in self.diff],
            "n_five_gram_insertions": self.n_five_gram_insertions,
            "n_windows": self.n_windows,
            "n_fallbacks": self.n_fallbacks,
            "start_error": self.start_error,
            "end_error": self.end_error,
            "has_times": self.has_times,
            "reference_model": None if self.reference_model is None else self.reference_model.to_dict(),
        }


@dataclass(frozen=True)
class Failure:
    """A clip that could not be read or decoded."""

    id: str
    dataset: str
    audio: str
    language: str | None
    task: str
    subset: str | None
    error: str
    """What was wrong, for people."""

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "audio": self.audio,
            "language": self.language,
            "task": self.task,
            "subset": self.subset,
            "error": self.error,
        }


@dataclass(frozen=True)
class DataSetSummary:
    """One data set that was evaluated."""

    name: str
    n_items: int
    """Clips that have a reference text, those beyond a limit not counted."""
    n_without_text: int
    """Clips without one, which were left out."""

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"name": self.name, "n_items": self.n_items, "n_without_text": self.n_without_text}


@dataclass(frozen=True)
class ReferenceModel:
    """The model that QoI compares with, on the clips that both transcribed."""

    name: str
    wer: ErrorRate

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"name": self.name, "wer": self.wer.to_dict()}


@dataclass(frozen=True)
class Evaluation:
    """A model's results on one or more data sets."""

    model: Mapping[str, Any]
    """`name`, and what is known of it: `engine`, `device`, `precision`, `load_elapsed`, `warm_up_elapsed`; where the
    encoder ran elsewhere, `encoder_engine`, `encoder_device`, `encoder_precision`."""
    options: Mapping[str, Any]
    """The decoding options, by name."""
    normalizer: str
    """"auto", "english", "basic" or "none"."""
    machine: Mapping[str, Any]
    """`cpu`, `n_cores`, `threads` (None: the engine's choice), `system`."""
    versions: Mapping[str, str]
    """Package → version, Python's among them."""
    datasets: tuple[DataSetSummary, ...]
    summary: Figures
    rows: tuple[Row, ...]
    clips: tuple[Clip, ...]
    """In the order of the data sets."""
    failures: tuple[Failure, ...]
    reference_model: ReferenceModel | None = None
    created: str = ""
    """When it was finished: UTC, ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "format": FORMAT,
            "created": self.created,
            "model": dict(self.model),
            "reference_model": None if self.reference_model is None else self.reference_model.to_dict(),
            "options": dict(self.options),
            "normalizer": self.normalizer,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "datasets": [dataset.to_dict() for dataset in self.datasets],
            "summary": self.summary.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
            "clips": [clip.to_dict() for clip in self.clips],
            "failures": [failure.to_dict() for failure in self.failures],
        }
