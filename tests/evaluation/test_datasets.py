"""Each form of data set gives the same items."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from stagewhisper.errors import AudioError, DataSetError
from stagewhisper.evaluation import DataSet, evaluate, load_dataset, load_datasets
from stagewhisper.evaluation.items import FileAudio
from tests.evaluation.planted import FakeModel, segment, transcript

TRUTH = [("one.wav", "one"), ("two.wav", "two"), ("three.wav", "")]


def essence(dataset: DataSet) -> list[tuple[str, str]]:
    return [(item.audio, item.text) for item in dataset.items]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_manifest_is_one_object_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", lines(*({"audio": audio, "text": text} for audio, text in TRUTH)) + "\n")
    dataset = load_dataset(path)
    assert essence(dataset) == TRUTH
    assert dataset.name == "set"
    assert dataset.items[0].source == FileAudio(tmp_path / "one.wav")


def test_a_folder_is_named_after_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine" / "manifest.jsonl", lines({"audio": "one.wav", "text": "one"}))
    monkeypatch.chdir(tmp_path / "mine")
    for path in (".", "manifest.jsonl"):
        assert load_dataset(path).items[0].id == "mine/one.wav"


@pytest.mark.parametrize(
    "document",
    [
        [{"path": audio, "sentence": text} for audio, text in TRUTH],
        [{"audio_path": audio, "transcript": text} for audio, text in TRUTH],
        dict(TRUTH),
        {audio: {"text": text} for audio, text in TRUTH},
        {str(i): {"audio": audio, "text": text} for i, (audio, text) in enumerate(TRUTH)},
    ],
)
def test_whisperkits_metadata_is_a_list_or_a_map(document: Any, tmp_path: Path) -> None:
    write(tmp_path / "metadata.json", json.dumps(document))
    assert essence(load_dataset(tmp_path)) == TRUTH


def test_an_audiofolder_has_a_table_of_file_names(tmp_path: Path) -> None:
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", "transcription"), *TRUTH])
    assert essence(load_dataset(tmp_path)) == TRUTH


def test_an_audiofolder_may_have_its_splits_in_sub_folders(tmp_path: Path) -> None:
    write(tmp_path / "train" / "metadata.csv", "file_name,text\none.wav,one\n")
    write(tmp_path / "test" / "metadata.csv", "file_name,text\none.wav,two\n")
    dataset = load_dataset(tmp_path)
    assert [(item.audio, item.text, item.subset) for item in dataset.items] == [
        ("test/one.wav", "two", "test"),
        ("train/one.wav", "one", "train"),
    ]
    assert dataset.items[0].source.read() == tmp_path / "test/one.wav"


def test_paths_in_a_sub_folders_list_begin_there_unless_they_are_absolute(tmp_path: Path) -> None:
    write(tmp_path / "test" / "times.json", "[[0.5, 1], [2, 3.5]]")
    records = [
        {"file_name": str(tmp_path / "elsewhere.wav"), "text": "one"},
        {"audio": {"path": "y.wav"}, "text": "two", "segments": "times.json"},
        {"audio": {"path": str(tmp_path / "z.wav")}, "text": "three"},
    ]
    write(tmp_path / "test" / "metadata.jsonl", lines(*records))
    items = load_dataset(tmp_path).items
    assert [item.source.read() for item in items] == [
        tmp_path / "elsewhere.wav",
        tmp_path / "test/y.wav",
        tmp_path / "z.wav",
    ]
    assert (items[1].start, items[1].end) == (0.5, 3.5)


def test_hidden_folders_are_no_part_of_a_data_set(tmp_path: Path) -> None:
    save_to_disk(tmp_path / ".cache", table())
    write(tmp_path / ".old" / "metadata.jsonl", lines({"audio": "old.wav", "text": "old"}))
    (tmp_path / ".trash" / "data").mkdir(parents=True)
    pa.parquet.write_table(table(), tmp_path / ".trash" / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(DataSetError, match="is no data set"):
        load_dataset(tmp_path)
    write(tmp_path / "test" / "metadata.jsonl", lines({"audio": "one.wav", "text": "one"}))
    assert essence(load_dataset(tmp_path)) == [("test/one.wav", "one")]


def test_a_folder_below_a_hidden_one_is_a_data_set(tmp_path: Path) -> None:
    pa.parquet.write_table(table(), write(tmp_path / ".data" / "set" / "x.parquet", ""))
    assert_is_table(load_dataset(tmp_path / ".data" / "set"), subset=None)


def test_names_that_number_themselves_are_numbered_until_they_are_free(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / folder / "manifest.jsonl", lines(*({"audio": audio, "text": "x"} for audio in audios)))
        for folder, audios in [("q/a", ["x", "x", "x#2", "x"]), ("r/a", ["x"]), ("q/a-2", ["x"])]
    ]
    datasets = load_datasets(paths)
    assert [dataset.name for dataset in datasets] == ["a", "a-2", "a-2-2"]
    assert [item.id for item in datasets[0].items] == ["a/x", "a/x#2", "a/x#2#2", "a/x#3"]


def test_an_empty_cell_gives_way_to_another_name_of_the_same_thing(tmp_path: Path) -> None:
    records = [
        {"audio": "", "path": "one.wav", "text": "", "transcription": "one", "language": "", "lang": "en"},
        {"audio": "two.wav", "text": None, "sentence": ""},
    ]
    one, two = load_dataset(write(tmp_path / "x.jsonl", lines(*records))).items
    assert (one.audio, one.text, one.language) == ("one.wav", "one", "en")
    assert two.text == ""


AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(paths: tuple[str | None, ...] = ("one.wav", "two.wav")) -> pa.Table:
    cells = [{"bytes": f"bytes of {path}".encode(), "path": path} for path in paths]
    return pa.table({"audio": pa.array(cells, AUDIO), "text": ["one", "two"], "lang_id": [5, 5]})


def save_to_disk(folder: Path, contents: pa.Table) -> None:
    """What `datasets.Dataset.save_to_disk` leaves, as far as it is read."""
    folder.mkdir(parents=True)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, contents.schema) as writer:
        writer.write_table(contents)
    write(folder / "state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "cache-1234.arrow").write_bytes(b"left over by a map")


def assert_is_table(dataset: DataSet, *, subset: str | None) -> None:
    assert essence(dataset) == [("one.wav", "one"), ("two.wav", "two")]
    assert [item.source.read() for item in dataset.items] == [b"bytes of one.wav", b"bytes of two.wav"]
    assert {item.subset for item in dataset.items} == {subset}


def test_a_data_set_saved_to_disk_holds_the_recordings(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "set", table())
    assert_is_table(load_dataset(tmp_path / "set"), subset=None)


def test_a_saved_dictionary_of_splits_is_read_as_a_whole(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "set" / "validation", table())
    write(tmp_path / "set" / "dataset_dict.json", '{"splits": ["validation"]}')
    assert_is_table(load_dataset(tmp_path / "set"), subset="validation")


def test_parquet_files_of_the_hub_are_read_with_their_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pa.parquet.write_table(table(), tmp_path / "data" / "test-00000-of-00001.parquet")
    assert_is_table(load_dataset(tmp_path), subset="test")


def test_a_table_may_be_named_alone_and_may_be_an_arrow_file(tmp_path: Path) -> None:
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, table().schema) as writer:
        writer.write_table(table())
    assert_is_table(load_dataset(tmp_path / "x.arrow"), subset=None)


def test_a_table_of_paths_names_files_beside_it(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"audio": ["one.wav"], "text": ["one"]}), tmp_path / "x.parquet")
    assert load_dataset(tmp_path / "x.parquet").items[0].source.read() == tmp_path / "one.wav"


def test_recordings_without_a_path_are_numbered(tmp_path: Path) -> None:
    pa.parquet.write_table(table((None, None)), tmp_path / "x.parquet")
    assert [item.audio for item in load_dataset(tmp_path / "x.parquet").items] == ["x:0", "x:1"]


def test_the_bytes_of_a_table_are_transcribed(tmp_path: Path) -> None:
    pa.parquet.write_table(table(), tmp_path / "x.parquet")
    answers = {f"bytes of {name}.wav": transcript(segment(f" {name}", 0, 1)) for name in ("one", "two")}
    found = evaluate(FakeModel(answers), load_dataset(tmp_path / "x.parquet"))
    assert [clip.hypothesis for clip in found.clips] == [" one", " two"]
    assert found.summary.wer.rate == 0


def test_a_cell_without_a_recording_is_an_error_of_that_clip(tmp_path: Path) -> None:
    cells = pa.array([{"bytes": None, "path": None}], AUDIO)
    pa.parquet.write_table(pa.table({"audio": cells, "text": ["one"]}), tmp_path / "x.parquet")
    with pytest.raises(AudioError, match="x:0 has neither bytes nor a path"):
        load_dataset(tmp_path / "x.parquet").items[0].source.read()


@pytest.mark.parametrize(
    ("written", "code"),
    [("de", "de"), ("German", "de"), ("en-US", "en"), ("pt_br", "pt"), ("<|fr|>", "fr"), ("cmn", "cmn"), ("", None)],
)
def test_languages_are_understood_as_people_write_them(written: str, code: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", lines({"audio": "one.wav", "text": "one", "language": written}))
    assert load_dataset(path).items[0].language == code


def test_times_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "t.json", json.dumps([{"start": 0.5, "end": 1}, {"start": 2, "end": 3.5}]))
    path = write(tmp_path / "x.jsonl", lines({"audio": "one.wav", "text": "one", "segments": "t.json"}))
    item = load_dataset(path).items[0]
    assert (item.start, item.end) == (0.5, 3.5)


def test_the_recordings_of_the_project_are_a_data_set(audio_dir: Path) -> None:
    dataset = load_dataset(audio_dir)
    assert len(dataset.items) > 4000
    assert all(item.source.read().is_file() for item in dataset.items[::100])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", '{"audio": "a"', "line 1 is no JSON"),
        ("x.jsonl", "[1]\n", r"record 1: expected an object with names, got \[1\]"),
        ("x.jsonl", '{"text": "one"}', r"record 1 names no recording.*audio_filepath"),
        ("x.jsonl", '{"audio": "a.wav"}', "no recording with a text, among 1"),
        ("x.jsonl", '{"audio": "a", "text": "b", "task": "sing"}', "the task is 'sing'; known are transcribe"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": "x", "end": 1}', "its times are not numbers"),
        ("x.jsonl", '{"audio": "a", "text": "b", "segments": "none.json"}', "its segments .* cannot be read"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": NaN, "end": 1}', "record 1: its speech begins at nan and"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": 0, "end": 1e999}', "ends at inf s. Expected 0 ≤ start"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": -1, "end": 1}', "begins at -1.0 and"),
        ("x.jsonl", '{"audio": "a", "text": "b", "segments": [[2, 1]]}', "begins at 2.0 and ends at 1.0 s"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": 0, "end": %s}' % ("9" * 400), "its times are not numbers"),
        ("x.jsonl", '{"audio": "a", "text": "b", "start": 0, "end": %s}' % ("9" * 5000), "line 1 is no JSON"),
        ("x.jsonl", '\n{"audio": ' + "[" * 200_000, "line 2 is no JSON"),
        ("x.json", "[" * 200_000, "cannot be read"),
        ("x.jsonl", '{"audio": "a\\u0000b", "text": "b"}', r"record 1: no file can be called 'a\\x00b'"),
        ("x.jsonl", '{"audio": "a\\ud800b", "text": "b"}', r"record 1: no file can be called 'a\\ud800b'"),
        ("x.jsonl", '{"audio": "a", "text": ["one", "two"]}', r"its text is \['one', 'two'\]. Expected a string"),
        ("x.jsonl", '{"audio": "a", "text": {"a": 1}}', "its text is {'a': 1}. Expected a string"),
        ("x.jsonl", '{"audio": "a", "text": true}', "its text is True. Expected a string"),
        ("x.jsonl", "", "no recording with a text, among 0"),
        ("x.json", "3", "should hold a list or a map of recordings, not 3"),
        ("x.json", "[", "cannot be read"),
        ("x.json", '{"a.wav": 3}', "record 1: expected an object"),
        ("x.txt", "a", r"its name should end with \.jsonl"),
        ("x.parquet", "no table", "cannot be read"),
        ("x.arrow", "no table", "cannot be read"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_data_set_is_refused_with_the_reason(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataSetError, match=message) as caught:
        load_dataset(path)
    assert name in str(caught.value)


def test_a_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"audio": "\xff"}')
    with pytest.raises(DataSetError, match="cannot be read"):
        load_dataset(tmp_path / "x.jsonl")


def test_what_is_not_there_and_what_has_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="There is no data set"):
        load_dataset(tmp_path / "none")
    with pytest.raises(DataSetError, match=r"is no data set. Expected one of manifest.jsonl"):
        load_dataset(tmp_path)


def test_a_table_without_recordings_is_refused(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"text": ["one"]}), tmp_path / "x.parquet")
    with pytest.raises(DataSetError, match="no column of recordings"):
        load_dataset(tmp_path / "x.parquet")
