"""argparse as our commands want it: both spellings of an option, plain True/False, errors on one line."""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from stagewhisper.cli.values import boolean

_WIDEST = 100
_NEGATIVE = re.compile(r"-[\d.]")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that reads the same under every Python version, `-o, --output-dir DIR` on the left."""

    def __init__(self, prog: str, **options: Any) -> None:
        width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
        super().__init__(prog, **{"width": width, "max_help_position": 30, **options})

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar or action.dest)
        names = ", ".join(action.option_strings)
        if action.nargs == 0:
            return names
        return f"{names} {self._format_args(action, action.dest.upper())}"


class Parser(argparse.ArgumentParser):
    """A parser whose long options may be written with underscores, as openai/whisper's are, and among the files."""

    _given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2 and one line that says where help is."""
        # argparse, as every program, reads a name such as -talk.wav as options.
        hidden = [name for name in self._given if name.startswith("-") and Path(name).is_file()]
        hint = f". Write ./{hidden[0]} if you mean that file" if hidden else ""
        self.exit(2, f"stagewhisper: error: {' '.join(message.split())}{hint} (help: {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]  # argparse's own overloads differ only for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What argparse gives for the arguments in their usual spelling; a command leaves none over."""
        if args is not None:
            switches = {name for a in self._actions if a.type is boolean for name in a.option_strings}
            args = self._given = usual_spelling(args, switches=switches)
        parsed, left_over = super().parse_known_args(args, namespace)
        if self._subparsers is None:
            self._take(left_over, parsed)
            left_over = []
        return parsed, left_over

    def _take(self, left_over: Sequence[str], parsed: argparse.Namespace) -> None:
        """Adds the files that stand behind an option: argparse takes those of one place only."""
        files = next((a.dest for a in self._actions if not a.option_strings and a.nargs == "+"), None)
        end = left_over.index("--") if "--" in left_over else len(left_over)
        for argument in left_over[:end]:
            if argument.startswith("-") and argument != "-":
                self.error(self._unknown(argument))
        extra = [*left_over[:end], *left_over[end + 1 :]]
        if extra and files is None:
            self.error(f"unexpected argument {extra[0]!r}")
        if files is not None:
            setattr(parsed, files, [*getattr(parsed, files), *extra])

    def _unknown(self, argument: str) -> str:
        from difflib import get_close_matches

        name = argument.partition("=")[0]
        close = get_close_matches(name, [known for a in self._actions for known in a.option_strings], n=1)
        return f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else "")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where a command adds itself to the program."""


def usual_spelling(arguments: Sequence[str], *, switches: set[str]) -> list[str]:
    """`arguments` with hyphens in the names of long options, and some values attached.

    Those of `switches`, since argparse would take a file name for the value in `--offline talk.mp3`, and lists
    that begin with a negative number, which it would take for options in `--suppress-tokens -1,50`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled: list[str] = []
    for argument in arguments[:end]:
        former = spelled[-1] if spelled else ""
        is_truth = former in switches and argument.lower() in ("true", "false")
        if is_truth or (former.startswith("--") and _NEGATIVE.match(argument)):
            spelled[-1] += f"={argument}"
        else:
            _attach_true(spelled, switches)
            spelled.append(_with_hyphens(argument))
    _attach_true(spelled, switches)
    return [*spelled, *arguments[end:]]


def _attach_true(spelled: list[str], switches: set[str]) -> None:
    if spelled and spelled[-1] in switches:
        spelled[-1] += "=True"


def _with_hyphens(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value
