"""`stagewhisper transcribe`: text on standard output as it comes, files beside it, one recording after the other."""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from stagewhisper.cli.messages import Messages
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.printing import TextPrinter
from stagewhisper.cli.progress import ProgressBar
from stagewhisper.cli.recordings import Output, Recording, find_recordings, make_folder, plan_outputs
from stagewhisper.cli.streams import StdoutError
from stagewhisper.cli.transcribe_options import add_options
from stagewhisper.cli.transcribe_settings import decoding_options, in_models_language, load_options, output_formats
from stagewhisper.errors import OptionError
from stagewhisper.transcript import Segment, Transcript
from stagewhisper.writers import write_transcript

logger = logging.getLogger(__name__)

_DIFFERENCES = """\
Options have the names and defaults of openai/whisper, with hyphens or underscores. What differs:
files are written only if -o or -f is given; standard output has the text alone unless --verbose
is True; messages go to standard error; `all` includes lrc.

Exit code: 0 all done; 2 an option was wrong, or a recording failed and the rest was done;
130 interrupted."""


class SegmentStream(Protocol):
    """A recording that the library decodes while it is iterated over."""

    @property
    def duration(self) -> float:
        """Seconds of audio."""

    @property
    def language(self) -> str:
        """Code of the spoken language."""

    @property
    def language_probability(self) -> float | None:
        """How sure its detection was; None when it was given."""

    @property
    def position(self) -> float:
        """Seconds done so far."""

    def __iter__(self) -> Iterator[Segment]: ...

    def transcript(self) -> Transcript:
        """Everything, decoded to the end."""


OpenStream: TypeAlias = Callable[[Any], SegmentStream]


def add_command(commands: Commands) -> None:
    """Adds `transcribe` to the program."""
    parser = commands.add_parser(
        "transcribe",
        help="recordings to text, subtitles or JSON",
        usage="stagewhisper [transcribe] [OPTIONS] FILE [FILE ...]",
        description="Writes what is said in recordings.",
        epilog=_DIFFERENCES,
        formatter_class=HelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, messages: Messages) -> int:
    """The exit code once all recordings are done: 0, or 2 when one failed."""
    recordings, missing = find_recordings(arguments.files)
    folder, formats = Path(arguments.output_dir or "."), output_formats(arguments)
    outputs = plan_outputs(recordings, folder=folder, formats=formats)
    options = decoding_options(arguments)
    for error in missing:
        messages.failure(error)
    if not recordings:
        return 2
    if formats:
        make_folder(folder)
    open_stream = _stream_opener(arguments, options)
    printer = TextPrinter(verbose=arguments.verbose, with_headings=len(recordings) + len(missing) > 1)
    n_failed = len(missing)
    for recording in recordings:
        try:
            _transcribe(recording, open_stream, printer, outputs[recording])
        except (BrokenPipeError, StdoutError, OptionError):
            raise  # the recordings that follow would fare no better
        except Exception as error:  # noqa: BLE001 whatever is wrong with one recording, the others are done
            messages.failure(error, name=recording.name)
            n_failed += 1
    return 2 if n_failed else 0


def _stream_opener(arguments: argparse.Namespace, options: dict[str, Any]) -> OpenStream:
    from stagewhisper.model import load

    model = load(arguments.model, **load_options(arguments))
    options = in_models_language(options, arguments.model, is_multilingual=model.is_multilingual)
    return partial(model.segments, **options)


def _transcribe(recording: Recording, open_stream: OpenStream, printer: TextPrinter, outputs: Sequence[Output]) -> None:
    stream = open_stream(recording.source())
    printer.heading(recording.name)
    if stream.language_probability is not None:
        logger.info("Detected language: %s (%.0f %%)", stream.language, 100 * stream.language_probability)
    bar = ProgressBar(Path(recording.name).name, duration=stream.duration)
    with bar.shown():
        for segment in stream:
            with bar.out_of_the_way():
                printer.segment(segment)
            bar.move_to(stream.position)
    transcript = stream.transcript()
    for output in outputs:
        write_transcript(transcript, output.path, format=output.format)
        logger.info("Wrote %s", output.path)
