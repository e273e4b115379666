import io
import sys
from pathlib import Path

import pytest

from stagewhisper.cli.recordings import STANDARD_INPUT, find_recordings, plan_outputs
from stagewhisper.errors import OptionError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.wav", "a.wav", "c.mp3", "d[1].wav", "sub/a.wav", "sub/deep/e.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def _names(*patterns):
    found, errors = find_recordings(patterns)
    assert not errors
    return [recording.name for recording in found]


def test_a_pattern_gives_its_files_in_order(folder):
    assert _names("?.wav") == ["a.wav", "b.wav"]


def test_two_stars_reach_into_folders_and_folders_are_no_recordings(folder):
    assert _names("sub/**") == [str(Path("sub/a.wav")), str(Path("sub/deep/e.wav"))]


def test_an_absolute_pattern_is_expanded(folder):
    assert _names(f"{folder}/*.mp3") == [str(folder / "c.mp3")]


def test_a_file_with_brackets_in_its_name_is_found_by_its_name(folder):
    assert _names("d[1].wav") == ["d[1].wav"]


def test_a_file_that_is_named_twice_is_done_once(folder):
    assert _names("b.wav", "?.wav") == ["b.wav", "a.wav"]


def test_names_without_a_file_are_errors_beside_the_others(folder):
    found, errors = find_recordings(["none.wav", "a.wav", "*.flac"])
    assert [recording.name for recording in found] == ["a.wav"]
    assert [str(error).split(". ")[0] for error in errors] == [
        "'none.wav' does not exist",
        "No file matches '*.flac'",
    ]


@pytest.mark.parametrize(("name", "example"), [("sub", "sub/*"), ("./sub/", "./sub/*"), (".", "./*")])
def test_a_folder_is_answered_with_the_pattern_for_its_recordings(folder, name, example):
    found, (error,) = find_recordings([name])
    assert found == []
    assert str(error) == f"{name!r} is a folder. Name the recordings in it, all of them with {example!r}."


def test_a_hyphen_is_standard_input(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert find_recordings(["-", "-"]) == ([STANDARD_INPUT], [])


def test_standard_input_is_not_read_from_a_terminal_or_when_closed(folder, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    for stdin, state in ((terminal, "a terminal"), (None, "closed")):
        monkeypatch.setattr(sys, "stdin", stdin)
        found, (error,) = find_recordings(["-"])
        assert found == []
        assert f"which is {state}" in str(error)


def test_an_output_is_the_recordings_name_with_the_formats_extension(folder):
    (recording,), _ = find_recordings(["sub/deep/e.wav"])
    planned = plan_outputs([recording], folder=Path("out"), formats=("srt", "json"))
    assert [output.path for output in planned[recording]] == [Path("out/e.srt"), Path("out/e.json")]
    (talk,) = plan_outputs([STANDARD_INPUT], folder=Path(), formats=("txt",))[STANDARD_INPUT]
    assert talk.path == Path("stdin.txt")


@pytest.mark.parametrize("names", [("a.wav", "sub/a.wav"), ("a.wav", "a.mp3")])
def test_two_recordings_with_one_output_are_refused_by_name(folder, names):
    (folder / "a.mp3").touch()
    found, _ = find_recordings(names)
    with pytest.raises(OptionError, match=rf"'{names[0]}' and '{names[1]}' would both be written to 'o.a\.srt'"):
        plan_outputs(found, folder=Path("o"), formats=("srt",))


def test_two_recordings_of_one_name_are_fine_when_nothing_is_written(folder):
    found, _ = find_recordings(["a.wav", "sub/a.wav"])
    assert plan_outputs(found, folder=Path(), formats=()) == {found[0]: [], found[1]: []}


def test_a_recording_that_its_own_transcript_would_overwrite_is_refused(folder):
    (folder / "talk.txt").touch()
    found, _ = find_recordings([str(folder / "talk.txt")])
    with pytest.raises(OptionError, match=r"would be overwritten by the transcript 'talk\.txt'"):
        plan_outputs(found, folder=Path(), formats=("txt",))


def test_a_recording_that_anothers_transcript_would_overwrite_is_refused(folder):
    (folder / "a.txt").touch()
    found, _ = find_recordings(["a.wav", "a.txt"])
    with pytest.raises(OptionError, match=r"'a\.txt' would be overwritten"):
        plan_outputs(found, folder=Path(), formats=("txt",))
