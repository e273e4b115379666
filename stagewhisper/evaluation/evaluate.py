"""A model over data sets: transcribe every clip, compare it with the truth, measure."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Unpack

from stagewhisper.errors import OptionError, StagewhisperError
from stagewhisper.evaluation.comparison import compare_texts
from stagewhisper.evaluation.figures import figures, rows
from stagewhisper.evaluation.items import DataSet, FileAudio, Item
from stagewhisper.evaluation.journal import Journal
from stagewhisper.evaluation.machine import machine, versions
from stagewhisper.evaluation.normalization import normalizer_for, text_language
from stagewhisper.evaluation.results import Clip, DataSetSummary, Evaluation, Failure
from stagewhisper.evaluation.transcriber import Transcriber, Transcription, transcribe_item
from stagewhisper.languages import LANGUAGES, language_code
from stagewhisper.transcription import TranscribeOptions, transcription_options

_WARM_UP = 30.0  # seconds of audio, one window: enough for all that is compiled or allocated at first use


def evaluate(
    model: Transcriber,
    datasets: DataSet | Sequence[DataSet],
    *,
    normalizer: str = "auto",
    force_language: bool = False,
    about: Mapping[str, Any] | None = None,
    journal: Journal | None = None,
    on_clip: Callable[[int], None] | None = None,
    **options: Unpack[TranscribeOptions],
) -> Evaluation:
    """The model's results on all clips of the data sets.

    Args:
        model: what transcribes; a loaded `stagewhisper.Model`.
        datasets: from `load_dataset` or `load_datasets`.
        normalizer: "auto", "english", "basic" or "none"; see `normalizer_for`.
        force_language: tell the model each clip's language where the data set does, instead of having it detected.
        about: what the document shall say of the model: `name`, `engine`, `threads` and so on.
        journal: where finished clips are kept, and found again.
        on_clip: called after each clip with the number of clips done.
        options: `TranscribeOptions`. A clip's own task comes before `task`.

    A clip that cannot be read or decoded becomes a failure, and the others are done; so does one whose own language or
    task the model does not know.

    Raises:
        OptionError: an option is wrong, or two data sets have one name.
        StagewhisperError: a package is missing, or the journal cannot be written.
    """
    datasets = (datasets,) if isinstance(datasets, DataSet) else tuple(datasets)
    _check(datasets, normalizer, options)
    run = _Run(model, options, force_language=force_language, journal=journal)
    clips: list[Clip] = []
    failures: list[Failure] = []
    for dataset in datasets:
        for item, outcome in run.outcomes(dataset.items):
            task = item.task or options.get("task", "transcribe")
            language = item.language or _given_language(options)
            if isinstance(outcome, Transcription):
                clips.append(
                    _clip(dataset.name, item, outcome, language=language, task=task, normalizer_name=normalizer)
                )
            else:
                failures.append(_failure(dataset.name, item, outcome, language=language, task=task))
            if on_clip is not None:
                on_clip(len(clips) + len(failures))
    about = {"name": "unnamed model", **(about or {}), "warm_up_elapsed": run.warm_up_elapsed}
    return Evaluation(
        model={name: value for name, value in about.items() if name != "threads"},
        options=_as_json({**options, "force_language": force_language}),
        normalizer=normalizer,
        machine=machine(threads=about.get("threads")),
        versions=versions(),
        datasets=tuple(DataSetSummary(d.name, len(d.items), d.n_without_text) for d in datasets),
        summary=figures(clips, failures),
        rows=rows(clips, failures),
        clips=tuple(clips),
        failures=tuple(failures),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Run:
    """One model at work; it remembers whether it is warm."""

    def __init__(
        self, model: Transcriber, options: TranscribeOptions, *, force_language: bool, journal: Journal | None
    ) -> None:
        self.warm_up_elapsed: float | None = None
        self._model = model
        self._options = options
        self._force_language = force_language and model.is_multilingual
        self._journal = journal

    def outcomes(self, items: Sequence[Item]) -> Iterator[tuple[Item, Transcription | Exception]]:
        """Each item with its transcription, or with what went wrong."""
        for item in items:
            yield item, self._outcome(item, self._item_options(item))

    def _outcome(self, item: Item, options: TranscribeOptions) -> Transcription | Exception:
        try:
            found = None if self._journal is None else self._journal.find(item, options)
            if found is not None:
                return found
            if self.warm_up_elapsed is None:
                self._warm_up(item, options)
            transcription = transcribe_item(self._model, item, options)
        except OptionError as error:
            if options == self._options:
                raise  # the clips that follow would fare no better
            return error
        except Exception as error:  # noqa: BLE001 whatever is wrong with one clip, the others are done
            return error
        if self._journal is not None:
            self._journal.add(item, options, transcription)
        return transcription

    def _warm_up(self, item: Item, options: TranscribeOptions) -> None:
        started = time.perf_counter()
        first_window: TranscribeOptions = {**options, "clip_timestamps": (0.0, _WARM_UP)}
        self._model.transcribe(item.source.read(), **first_window)
        self.warm_up_elapsed = time.perf_counter() - started

    def _item_options(self, item: Item) -> TranscribeOptions:
        options = self._options.copy()
        if item.task is not None:
            options["task"] = item.task
        if self._force_language and item.language in LANGUAGES:
            options["language"] = item.language
        return options


def _check(datasets: Sequence[DataSet], normalizer_name: str, options: TranscribeOptions) -> None:
    """Raise now what would otherwise come after the first clip is transcribed."""
    transcription_options(options)
    normalizer_for(normalizer_name, language=None)
    compare_texts("", "", normalize=str)
    ids = [item.id for dataset in datasets for item in dataset.items]
    if len(set(ids)) < len(ids):
        names = ", ".join(dataset.name for dataset in datasets)
        raise OptionError(f"Clips of the data sets {names} share their names. Load them with load_datasets.")


def _given_language(options: TranscribeOptions) -> str | None:
    language = options.get("language")
    return None if language is None else language_code(language)


def _clip(
    dataset: str, item: Item, transcription: Transcription, *, language: str | None, task: str, normalizer_name: str
) -> Clip:
    normalize = normalizer_for(normalizer_name, language=text_language(language, task=task))
    comparison = compare_texts(item.text, transcription.text, normalize=normalize)
    return Clip(
        id=item.id,
        dataset=dataset,
        audio=item.audio,
        reference=item.text,
        hypothesis=transcription.text,
        language=language,
        detected_language=transcription.detected_language,
        task=task,
        subset=item.subset,
        speaker=item.speaker,
        duration=transcription.duration,
        elapsed=transcription.elapsed,
        words=comparison.words,
        characters=comparison.characters,
        diff=comparison.diff,
        n_five_gram_insertions=comparison.n_five_gram_insertions,
        n_windows=transcription.n_windows,
        n_fallbacks=transcription.n_fallbacks,
        start_error=_difference(transcription.speech_start, item.start),
        end_error=_difference(transcription.speech_end, item.end),
        has_times=item.start is not None and item.end is not None,
    )


def _difference(found: float | None, true: float | None) -> float | None:
    return None if found is None or true is None else found - true


def _failure(dataset: str, item: Item, error: Exception, *, language: str | None, task: str) -> Failure:
    message = str(error)
    if not isinstance(error, StagewhisperError):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return Failure(item.id, dataset, item.audio, language, task, item.subset, error=_as_named(message, item))


def _as_named(message: str, item: Item) -> str:
    """`message` with the recording called as in the data set: where that lies is nobody else's business."""
    if not isinstance(item.source, FileAudio):
        return message
    path = item.source.path
    spellings = {str(path), str(path.absolute()), os.path.realpath(path)}
    for spelling in sorted(spellings, key=len, reverse=True):
        for written in (spelling, repr(spelling)[1:-1]):  # most messages quote names as Python does
            message = message.replace(written, item.audio)
    return message


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON has them, so that the document equals what is read back from its file."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
