"""A file is held by one at a time, and let go of when its process dies."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stagewhisper.file_lock import holding, is_held

HOLD = "import sys, pathlib\nfrom stagewhisper.file_lock import holding\nwith holding(pathlib.Path(sys.argv[1])):\n"


def test_a_file_is_held_as_long_as_the_block_lasts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    assert is_held(path) is None
    with holding(path) as waited:
        assert not waited
        assert is_held(path) is True
    assert is_held(path) is False


def test_who_comes_second_is_told_and_waits(tmp_path: Path) -> None:
    told, found = threading.Event(), []

    def second() -> None:
        with holding(tmp_path / "lock", on_wait=told.set) as waited:
            found.append(waited)

    thread = threading.Thread(target=second)
    with holding(tmp_path / "lock"):
        thread.start()
        assert told.wait(30)
        assert found == []
    thread.join(30)
    assert found == [True]


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = HOLD + "    print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(path) is True
        process.kill()
    assert is_held(path) is False


def test_where_nothing_can_be_held_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with holding(tmp_path / "file" / "lock") as waited:
        assert not waited

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("stagewhisper.file_lock._take", refuse)
    with holding(tmp_path / "lock") as waited:
        assert not waited
    assert is_held(tmp_path / "lock") is None
