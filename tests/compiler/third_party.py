"""Packages of others, made up and put where Python finds them, as if they had been installed."""

import sys
from pathlib import Path

import pytest

from stagewhisper.compiler.foreign_passes import text_digest


class Package:
    """A module with passes, and what tells of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str) -> None:
        self.name, self._file = name, folder / f"{name}.py"
        self._notes = folder / f"{name}-1.0.dist-info"
        self._notes.mkdir(parents=True)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(self, text: str, *, passes: str, version: str = "1.0") -> None:
        """Installs this text; `passes` are the names of its functions."""
        sys.modules.pop(self.name, None)
        text_digest.cache_clear()  # as in a new process
        self._file.write_text(text, encoding="utf-8")
        self._notes.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {version}\n")
        lines = [f"{each} = {self.name}:{each}" for each in passes.split()]
        self._notes.joinpath("entry_points.txt").write_text("\n".join(["[stagewhisper.passes]", *lines, ""]))
