from pathlib import Path

import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import DataSetError
from tests.training.recorded_folder import PEOPLE, write_recordings
from tests.training.voices_here import needs_espeak
from training import recordings
from training.corpus import read_corpus
from training.manifest import of_source, read_manifest
from training.recordings import written


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("an4", "ENTER A B SIX", "Enter A B six."),
        ("an4", "Y", "Y."),
        ("an4", "FEBRUARY TWENTY FOURTH", "February twenty fourth."),
        ("fsdd", "seven", "Seven."),
        ("voices", "It was Mr. Bell's idea.", "It was Mr. Bell's idea."),
    ],
)
def test_transcripts_are_written_as_the_grammar_writes(source: str, text: str, expected: str):
    assert written(text, source) == expected


def test_a_folder_without_a_manifest_is_no_folder_of_recordings(tmp_path: Path):
    with pytest.raises(DataSetError, match=r"manifest\.jsonl"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_entries_belong_to_the_folder_that_they_lie_in(tmp_path: Path):
    entries = read_manifest(write_recordings(tmp_path) / "manifest.jsonl")
    assert [entry["speaker"] for entry in of_source(entries, "an4")] == list(PEOPLE["an4"])
    assert of_source(entries, "an") == []


def test_a_recording_to_train_on_needs_a_speaker(tmp_path: Path):
    entries = read_manifest(write_recordings(tmp_path) / "manifest.jsonl")
    del next(entry for entry in entries if entry["audio"] == "an4/1.wav")["speaker"]
    assert len(of_source(entries, "fsdd")) == 2
    with pytest.raises(DataSetError, match=r"does not tell the speaker of an4/1\.wav\. Give each recording of an4/"):
        of_source(entries, "an4")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "an4/1.wav"', "line 2 is no JSON"),
        ("[" * 200_000, "line 2 is no JSON"),
        ("3", "line 2: expected .*got 3"),
        ('{"audio": "an4/1.wav"}', "line 2: expected"),
        ('{"audio": "an4/1.wav", "text": null}', "line 2: expected"),
    ],
    ids=lambda text: text[:40],
)
def test_a_manifest_that_does_not_say_what_it_should_is_refused(line: str, message: str, tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"audio": "fsdd/1.wav", "text": "one"}\n' + line, encoding="utf-8")
    with pytest.raises(DataSetError, match=rf"manifest\.jsonl, {message}"):
        read_manifest(path)


@needs_espeak
def test_each_recording_is_there_as_it_is_and_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    audio = write_recordings(tmp_path / "audio")
    monkeypatch.setattr(recordings, "_N_NOISES", 2)
    monkeypatch.setattr("sys.argv", ["recordings", str(audio), str(tmp_path / "corpus")])
    recordings.main()
    for source, n_copies in recordings._COPIES.items():
        utterances = read_corpus(tmp_path / "corpus", [source])
        assert [one.about.speaker for one in utterances] == [who for who in PEOPLE[source] for _ in range(n_copies)]
        assert len({one.log_power.tobytes() for one in utterances}) == len(utterances)
        for one in utterances[::n_copies]:
            assert (one.about.start, one.about.end) == pytest.approx((0.1, 0.4), abs=0.03)
            assert one.about.phonemes
    noises = read_corpus(tmp_path / "corpus", ["noise"])
    assert [(one.about.text, one.about.source) for one in noises] == [("", "noise")] * 2
