"""A folder has one search at a time, and a search that was killed keeps nobody out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stagewhisper.compiler.recipe import Recipe
from stagewhisper.compiler.search_lock import LOCK, alone_in
from stagewhisper.errors import StagewhisperError
from tests.compiler.searched import N_RECIPES, RECIPE, Laboratory, laboratory, recipe_of

__all__ = ["laboratory"]

OTHER = """
import sys, time
from pathlib import Path
from stagewhisper.compiler.search_lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def other_process(folder: Path) -> subprocess.Popen[str]:
    """A process that has the folder's lock."""
    started = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "locked\n"
    return started


def test_a_second_search_in_the_same_folder_is_refused_and_the_first_goes_on(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path)
    refused = []

    def search_again(_: Recipe) -> None:
        laboratory.on_compile = lambda _: None
        point = (tmp_path / "out" / "footprint.jsonl").read_text()
        with pytest.raises(StagewhisperError, match=rf"Another search \(process {os.getpid()}\) is at work in .*out"):
            laboratory.search(recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 2")))
        assert (tmp_path / "out" / "footprint.jsonl").read_text() == point
        refused.append(point)

    laboratory.on_compile = search_again
    found = laboratory.search(recipe)
    assert len(refused) == 1
    assert len(found.points) == N_RECIPES
    assert len((tmp_path / "out" / "footprint.jsonl").read_text().splitlines()) == N_RECIPES + 1
    assert not (tmp_path / "out" / LOCK).exists()


def test_the_lock_is_given_back_when_a_search_fails(laboratory: Laboratory, tmp_path: Path) -> None:
    def stop(_: Recipe) -> None:
        raise KeyboardInterrupt

    laboratory.on_compile = stop
    with pytest.raises(KeyboardInterrupt):
        laboratory.search(recipe_of(tmp_path))
    assert not (tmp_path / "out" / LOCK).exists()
    laboratory.on_compile = lambda _: None
    assert laboratory.search(recipe_of(tmp_path)).best is not None


def test_another_process_keeps_a_search_out_until_it_is_killed(tmp_path: Path) -> None:
    other = other_process(tmp_path)
    try:
        with pytest.raises(StagewhisperError, match=rf"Another search \(process {other.pid}\) is at work"):
            alone_in(tmp_path).__enter__()
        assert (tmp_path / LOCK).read_text() == str(other.pid), "a refused search leaves it as it is"
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert (tmp_path / LOCK).exists(), "what a killed one leaves"
    with alone_in(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())
    assert not (tmp_path / LOCK).exists()


def test_two_folders_have_a_search_each(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with alone_in(tmp_path / "a"), alone_in(tmp_path / "b"):
        assert (tmp_path / "a" / LOCK).exists()


def test_a_lock_that_is_taken_away_between_opening_and_locking_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagewhisper.compiler import search_lock

    real, calls = search_lock._lock, []

    def lock(file: object, path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            path.unlink()  # the search that had it has just ended
        real(file, path)  # type: ignore[arg-type]

    monkeypatch.setattr(search_lock, "_lock", lock)
    with alone_in(tmp_path):
        assert len(calls) == 2
        with pytest.raises(StagewhisperError, match="Another search"):
            alone_in(tmp_path).__enter__()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StagewhisperError, match=r"Cannot write to .*gone: No such file or directory\. Name another"):
        alone_in(tmp_path / "gone").__enter__()


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone_in(tmp_path):
        assert "cannot be told whether another search is at work" in caplog.text
