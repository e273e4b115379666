"""argparse as our commands want it: both spellings of an option, plain True/False, errors on one line."""

import argparse
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from stagewhisper.cli.values import boolean

_WIDEST = 100


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
    """A parser whose long options may be written with underscores, as openai/whisper's are."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2 and one line that says where help is."""
        self.exit(2, f"stagewhisper: error: {message} (help: {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]  # argparse's own overloads differ only for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What argparse gives for the arguments in their usual spelling."""
        if args is not None:
            switches = {name for a in self._actions if a.type is boolean for name in a.option_strings}
            args = usual_spelling(args, switches=switches)
        return super().parse_known_args(args, namespace)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where a command adds itself to the program."""


def usual_spelling(arguments: Sequence[str], *, switches: set[str]) -> list[str]:
    """`arguments` with hyphens in the names of long options, and every one of `switches` with its value attached.

    Attached, since argparse would take a file name for the value in `--offline talk.mp3`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled: list[str] = []
    for argument in arguments[:end]:
        if spelled and spelled[-1] in switches and argument.lower() in ("true", "false"):
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
