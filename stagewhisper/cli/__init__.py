"""The command line: what `stagewhisper` does in a terminal."""

from stagewhisper.cli.program import main

__all__ = ["main"]
