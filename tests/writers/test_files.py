import stat

import pytest

from stagewhisper.errors import OptionError, StagewhisperError
from stagewhisper.transcript import Transcript
from stagewhisper.writers import WRITERS, write_transcript
from tests.writers.test_formats import _transcript

ONE = _transcript((0.0, " Grüße, 世界\r"))


def test_a_file_is_utf8_with_unix_newlines(tmp_path):
    write_transcript(ONE, tmp_path / "x.srt", format="srt")
    assert (tmp_path / "x.srt").read_bytes() == ("1\n00:00:00,000 --> 00:00:01,000\nGrüße, 世界\n\n".encode())


def test_an_older_file_is_replaced_and_nothing_else_stays_in_the_folder(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("older and much longer than what comes now")
    write_transcript(ONE, path, format="txt")
    assert path.read_text(encoding="utf-8") == "Grüße, 世界\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_transcript(ONE, tmp_path / "x.txt", format="txt")
    assert stat.S_IMODE((tmp_path / "x.txt").stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".txt")
    write_transcript(ONE, path, format="txt")
    assert path.is_file()


@pytest.mark.parametrize("failure", [ValueError("its own fault"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_writer_that_fails_half_way_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch, failure):
    def fail(transcript: Transcript, file):
        file.write("half")
        raise failure

    monkeypatch.setattr(WRITERS, "get", lambda name: fail)
    path = tmp_path / "x.txt"
    path.write_text("older")
    expected = StagewhisperError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        write_transcript(ONE, path, format="txt")
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_that_names_the_path_and_the_remedy(tmp_path):
    with pytest.raises(StagewhisperError, match=r"none.x\.txt.*No such file.*another output folder"):
        write_transcript(ONE, tmp_path / "none" / "x.txt", format="txt")


def test_a_folder_in_the_files_place_is_an_error_and_stays(tmp_path):
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(StagewhisperError, match="Cannot write"):
        write_transcript(ONE, tmp_path / "x.txt", format="txt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_an_unknown_format_touches_nothing(tmp_path):
    with pytest.raises(OptionError, match="No writer named 'doc'"):
        write_transcript(ONE, tmp_path / "x.doc", format="doc")
    assert list(tmp_path.iterdir()) == []
