"""Write docs/cli.md: what every command answers to --help, word for word."""

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
COMMANDS = (
    *("", "transcribe", "evaluate", "compile", "search", "profile", "benchmark"),
    *("models", "models list", "models path"),
)
_INTRODUCTION = """\
# The command line

<!-- Written by scripts/make_cli_docs.py from --help. Do not edit. -->
"""


def cli_page() -> str:
    """The text of docs/cli.md."""
    return "\n".join([_INTRODUCTION, *(_section(command) for command in COMMANDS)])


def _section(command: str) -> str:
    title = f"stagewhisper {command}".strip()
    return f"## {title}\n\n```text\n{_help(command)}```\n"


def _help(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "stagewhisper", *command.split(), "--help"],
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8", newline="\n")
