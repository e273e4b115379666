"""The README keeps its promises: its commands are the two commands, and its numbers come from stored results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stagewhisper.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_two_commands_install_and_test() -> None:
    first, second = re.findall(r"^```sh\n(.*?)\n```", README, re.MULTILINE | re.DOTALL)[:2]
    assert first.startswith("pip install . && stagewhisper transcribe samples/")
    assert second.endswith("python -m pytest")


def test_the_first_command_prints_what_the_readme_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache_dir: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    command = re.search(r"&& stagewhisper (.*)", README)
    assert command is not None
    assert main([*command[1].split(), "--offline"]) == 0
    printed = capsys.readouterr().out.strip()
    assert f"It prints `{printed}`" in README


def test_the_tables_are_those_of_the_stored_results() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
