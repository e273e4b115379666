"""Outputs are written where the user pointed, and refused before the work begins where that cannot be."""

import os
import threading
from pathlib import Path

import pytest

from stagewhisper.cli.output_files import check_writable, write_text
from stagewhisper.errors import OptionError, StagewhisperError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_a_file_is_written_with_unix_line_ends_and_replaces_an_older_one() -> None:
    Path("x").write_text("old")
    check_writable("x", None)
    assert Path("x").read_text() == "old"
    write_text("x", "one\nzwölf\ud800\n")
    assert Path("x").read_bytes() == "one\nzwölf?\n".encode()
    assert names() == {"x"}


def test_a_link_stays_a_link_and_what_it_points_to_is_written() -> None:
    Path("sub").mkdir()
    Path("link").symlink_to("sub/target")  # which is not there yet
    check_writable("link")
    for text in ("first", "second"):
        write_text("link", text)
        assert Path("link").is_symlink()
        assert Path("sub/target").read_text() == text


def test_a_pipe_is_written_into() -> None:
    os.mkfifo("pipe")
    check_writable("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    write_text("pipe", "through")
    reader.join()
    assert read == ["through"]
    assert Path("pipe").is_fifo()
    assert names() == {"pipe"}


def test_devices_take_any_number_of_outputs_and_stay_devices() -> None:
    check_writable(os.devnull, os.devnull)
    write_text(os.devnull, "gone")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("other", ["x", "./x", "sub/../x", "link"])
def test_two_outputs_in_one_file_are_refused(other: str) -> None:
    Path("sub").mkdir()
    Path("link").symlink_to("x")
    with pytest.raises(OptionError, match=r"'x' would be written twice\. Give each output a file of its own"):
        check_writable("x", other)
    check_writable("x", "y", None)


@pytest.mark.parametrize("path", ["sub", "to-sub", "."])
def test_a_folder_is_refused(path: str) -> None:
    Path("sub").mkdir()
    Path("to-sub").symlink_to("sub")
    with pytest.raises(StagewhisperError, match=r"it is a folder\. Choose another place"):
        check_writable(path)


@pytest.mark.parametrize("path", ["none/x", "dangling", "x" * 300])
def test_what_cannot_be_made_is_refused(path: str) -> None:
    Path("dangling").symlink_to("none/x")
    with pytest.raises(StagewhisperError, match="Cannot write"):
        check_writable(path)


def test_links_in_a_circle_are_refused() -> None:
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    with pytest.raises(StagewhisperError, match="Cannot write 'a'"):
        check_writable("a")
