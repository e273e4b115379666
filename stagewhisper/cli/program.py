"""From a command line to an exit code: choose the command, run it, and end quietly whatever happens.

Exit codes: 0 all done · 2 wrong options, or something failed and the rest was done · 130 interrupted (Ctrl-C) ·
141 nobody reads standard output any more. Frameworks are imported by the commands when they run, never here:
`--help` has to answer at once.
"""

import argparse
import sys
from collections.abc import Sequence

from stagewhisper import __version__
from stagewhisper.cli import benchmark, evaluate, models, profile, search, transcribe
from stagewhisper.cli import compile as compile_command
from stagewhisper.cli.messages import messages_on_stderr, report
from stagewhisper.cli.parsing import HelpFormatter, Parser
from stagewhisper.cli.streams import discard, prepare_streams

_COMMANDS = ("transcribe", "evaluate", "compile", "search", "profile", "benchmark", "models")
_OWN_OPTIONS = ("-h", "--help", "--version")
_WITHOUT_COMMAND = """\
The word `transcribe` may be left out: `stagewhisper talk.mp3 --model small` works as `whisper` does.
A file that is called like a command is named with its folder: `./models`."""
# What a shell shows for a program that SIGINT or SIGPIPE ended: 128 + the signal's number.
_INTERRUPTED, _STDOUT_CLOSED = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line `argv`, which is `sys.argv[1:]` by default."""
    prepare_streams()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        return _STDOUT_CLOSED
    except OSError as error:  # argparse's own text, such as --help: commands answer for theirs
        report("error", f"Cannot write to standard output: {error.strerror}. Make room, or send it elsewhere.")
        discard(sys.stdout)
        return 2
    return code


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="stagewhisper",
        usage="stagewhisper COMMAND ...\n       stagewhisper [transcribe] [OPTIONS] FILE [FILE ...]",
        description="Whisper speech recognition, compiled for the machine at hand.",
        epilog=_WITHOUT_COMMAND,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stagewhisper {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND [...]", required=True, prog="stagewhisper")
    transcribe.add_command(commands)
    evaluate.add_command(commands)
    compile_command.add_command(commands)
    search.add_command(commands)
    profile.add_command(commands)
    benchmark.add_command(commands)
    models.add_command(commands)
    return parser


def _run(argv: list[str]) -> int:
    parser = build_parser()
    if not argv:
        sys.stderr.write(parser.format_help())
        return 2
    try:
        arguments = parser.parse_args(_with_command(argv))
    except SystemExit as end:  # argparse ends --help and wrong options this way
        return end.code if isinstance(end.code, int) else 2
    return _run_command(arguments)


def _with_command(argv: list[str]) -> list[str]:
    return argv if argv[0] in (*_COMMANDS, *_OWN_OPTIONS) else ["transcribe", *argv]


def _run_command(arguments: argparse.Namespace) -> int:
    informative = sys.stderr.isatty() or getattr(arguments, "verbose", None) is True
    with messages_on_stderr(informative=informative, debug=arguments.debug) as messages:
        try:
            code: int = arguments.run(arguments, messages)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 a user gets one line; --debug shows the rest
            messages.failure(error)
            return 2
    return code
