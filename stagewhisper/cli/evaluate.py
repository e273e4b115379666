"""`stagewhisper evaluate`: a model's error rates, speed and other measures on data sets whose text is known."""

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.evaluate_journal import about_engine, journal_path, model_identity, shown_name
from stagewhisper.cli.evaluate_options import add_options
from stagewhisper.cli.evaluate_report import printable, report_lines
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.output_files import check_writable, write_text
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.progress import ProgressBar
from stagewhisper.cli.streams import print_text
from stagewhisper.cli.transcribe_settings import decoding_options, in_models_language, load_options
from stagewhisper.errors import OptionError, StagewhisperError

if TYPE_CHECKING:
    from stagewhisper.evaluation import DataSet, Evaluation, Journal

logger = logging.getLogger(__name__)

_NOTES = """\
A data set is a manifest (.jsonl, one object a line with `audio` and `text`), a folder with
manifest.jsonl or metadata.json, or a data-set folder of Hugging Face (metadata.csv, Parquet, or
what save_to_disk writes). What each number means: docs/evaluation.md.

Exit code: 0 all done; 2 an option was wrong, or a clip failed and the rest was done;
130 interrupted: the same command goes on where it stopped."""


def add_command(commands: Commands) -> None:
    """Adds `evaluate` to the program."""
    parser = commands.add_parser(
        "evaluate",
        help="error rates and speed on recordings whose text is known",
        usage="stagewhisper evaluate [OPTIONS] DATA_SET [DATA_SET ...]",
        description="Measures how good and how fast a model is on recordings whose text is known.",
        epilog=_NOTES,
        formatter_class=HelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, messages: Messages) -> int:
    """The exit code once everything is measured: 0, or 2 when a clip failed."""
    from stagewhisper.evaluation import beside_reference, load_datasets, read_document, score
    from stagewhisper.evaluation.reference import require_common_clips

    options = decoding_options(arguments)
    check_writable(arguments.json, arguments.html)
    score([("", "")], normalizer=arguments.normalizer)  # a missing package must not cost fetching a model
    document = read_document(arguments.reference) if _is_document(arguments.reference) else None
    datasets = load_datasets(arguments.datasets, limit=_limit(arguments.limit))
    if document is not None:
        require_common_clips(datasets, document, task=arguments.task)
    session = _Session(arguments, datasets, options, messages)
    if document is None and arguments.reference is not None:
        session.check(arguments.reference)
    evaluation = session.evaluated(arguments.model, revision=arguments.revision)
    if document is None and arguments.reference is not None:
        document = session.evaluated(arguments.reference, revision=None).to_dict()
    if document is not None:
        evaluation = beside_reference(evaluation, document)
    try:
        print_text("\n".join(report_lines(evaluation)))
    finally:  # whether anybody reads the table or not
        _write(evaluation, datasets, arguments)
    if session.has_failures:
        return 2
    session.finish()
    return 0


class _Session:
    """The models that one command evaluates on the same clips, and their journals."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        datasets: "Sequence[DataSet]",
        options: dict[str, Any],
        messages: Messages,
    ) -> None:
        self._arguments = arguments
        self._datasets = datasets
        self._options = options
        self._messages = messages
        self._journals: list[Journal] = []
        self.has_failures = False

    def check(self, name: str) -> None:
        """Finds the files of the model called `name`, fetching them if need be: a wrong name must not cost a run."""
        model_identity(name, {**load_options(self._arguments), "revision": None})

    def evaluated(self, name: str, *, revision: str | None) -> "Evaluation":
        """The evaluation of the model called `name`; its failures are reported."""
        from stagewhisper.evaluation import evaluate
        from stagewhisper.model import load

        loading = {**load_options(self._arguments), "revision": revision}
        started = time.perf_counter()
        model = load(name, **loading)
        about = {"name": shown_name(name), **about_engine(loading), "load_elapsed": time.perf_counter() - started}
        options = in_models_language(self._options, name, is_multilingual=model.is_multilingual)
        bar = ProgressBar(Path(name).name, duration=sum(len(dataset.items) for dataset in self._datasets), unit="clips")
        with bar.shown():
            evaluation = evaluate(
                model,
                self._datasets,
                normalizer=self._arguments.normalizer,
                force_language=self._arguments.force_language,
                about=about,
                journal=self._journal(name, loading, options),
                on_clip=bar.move_to,
                **options,
            )
        for failure in evaluation.failures:
            self._messages.failure(StagewhisperError(printable(failure.error)), name=printable(failure.audio))
        self.has_failures = self.has_failures or bool(evaluation.failures)
        return evaluation

    def finish(self) -> None:
        """Every clip is done and everything is written: what was kept for another run is of no more use."""
        for journal in self._journals:
            journal.remove()

    def _journal(self, name: str, loading: dict[str, Any], options: dict[str, Any]) -> "Journal | None":
        from stagewhisper.evaluation import Journal

        places = [str(Path(path).absolute()) for path in self._arguments.datasets]
        identity = model_identity(name, loading)
        path = journal_path(loading["cache_dir"], [identity, places, options])
        try:
            if not self._arguments.resume:
                path.unlink(missing_ok=True)
            journal = Journal(path, model=identity)
        except (OSError, StagewhisperError) as error:
            logger.warning("This run cannot be resumed when it is interrupted: %s", error)
            return None
        self._journals.append(journal)
        return journal


def _is_document(reference: str | None) -> bool:
    return reference is not None and Path(reference).suffix.lower() == ".json"


def _limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise OptionError(f"--limit is {limit}, and has to be 1 or more.")
    return limit


def _write(evaluation: "Evaluation", datasets: "Sequence[DataSet]", arguments: argparse.Namespace) -> None:
    document = evaluation.to_dict()
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(document) + "\n")
    if arguments.html is not None:
        from stagewhisper.evaluation.page import html_page

        write_text(arguments.html, html_page(document, _audio_of(datasets)))


def _audio_of(datasets: "Sequence[DataSet]") -> Callable[[str], bytes | None]:
    from stagewhisper.evaluation.page_audio import small_audio

    sources = {item.id: item.source for dataset in datasets for item in dataset.items}

    def audio_of(clip: str) -> bytes | None:
        try:
            return small_audio(sources[clip].read())
        except StagewhisperError:  # gone since it was transcribed: the page is worth more than its sound
            return None

    return audio_of
