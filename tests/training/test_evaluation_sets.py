import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")
pytest.importorskip("jiwer", reason="evaluations count words with jiwer")

from stagewhisper.errors import DataSetError
from stagewhisper.evaluation import load_datasets
from tests.training.recorded_folder import STRANGERS, write_recordings
from tests.training.voices_here import needs_espeak
from training import evaluation_sets
from training.corpus import Description
from training.grammar import LANGUAGES
from training.sentences import is_reserved
from training.voices import HELD_OUT_VARIANTS

pytestmark = needs_espeak


def said_by_others(
    rng: np.random.Generator, engine: str, voices: list[str], n: int, free: list[str], *, held_out: bool
) -> Iterator[tuple[Description, np.ndarray]]:
    assert held_out
    for _ in range(n):
        yield Description("One of theirs.", "en", engine, voices[0], 0, 0.5), np.full(8000, 0.1, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    audio = write_recordings(work / "audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_sets, "N_SYNTHETIC", 4)
        patch.setattr(evaluation_sets, "N_SILENT", 3)
        patch.setattr(evaluation_sets, "N_LONG", 1)
        patch.setattr(evaluation_sets, "speak_with_others", said_by_others)
        patch.setattr("sys.argv", ["evaluation_sets", str(work), str(audio)])
        evaluation_sets.main()
    return work / "evaluation"


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_evaluation_reads_every_set(folder: Path):
    names = sorted(path.name for path in folder.iterdir())
    datasets = load_datasets([folder / name for name in names])
    assert {name: len(lines(folder, name)) for name in names} == {
        "an4": 1, "fsdd": 1, "silence": 3, "synthetic-en-other": 4, "synthetic-long": 1,
        **{f"synthetic-{language}": 4 for language in LANGUAGES},
        **{f"translate-{language}": 4 for language in LANGUAGES if language != "en"},
    }  # fmt: skip
    assert len(datasets) == len(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_synthetic_sets_have_held_out_voices_and_reserved_sentences(folder: Path, language: str):
    for line in lines(folder, f"synthetic-{language}"):
        assert line["language"] == language
        assert line["speaker"].split("+")[1] in HELD_OUT_VARIANTS
        assert is_reserved(line["text"])
        assert 0 <= line["start"] < line["end"]


@pytest.mark.parametrize("language", ["es", "de", "fr"])
def test_translations_are_of_the_same_clips(folder: Path, language: str):
    spoken, translated = lines(folder, f"synthetic-{language}"), lines(folder, f"translate-{language}")
    for one, other in zip(spoken, translated, strict=True):
        assert (one["start"], one["end"], one["speaker"]) == (other["start"], other["end"], other["speaker"])
        assert other["task"] == "translate"
        assert re.fullmatch(r"[A-Za-z', ]+[.?]", other["text"])
        clips = [(folder / f"{kind}-{language}" / one["audio"]).read_bytes() for kind in ("synthetic", "translate")]
        assert clips[0] == clips[1]


def test_real_people_are_those_who_were_left_out_of_training(folder: Path):
    entries = [*lines(folder, "fsdd"), *lines(folder, "an4")]
    assert {entry["speaker"] for entry in entries} == STRANGERS
    assert all(Path(entry["audio"]).is_file() for entry in entries)


def test_silence_has_no_text(folder: Path):
    assert {line["text"] for line in lines(folder, "silence")} == {""}
    assert not any("language" in line for line in lines(folder, "silence"))  # which nobody could hear


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "fsdd",
            r"No recording in fsdd/ is by a person who is kept out of training; it has theo\. Kept out are fsdd-ja",
        ),
        ("an4", r"No recording in an4/ .* it has nobody"),
    ],
)
def test_without_strangers_nothing_is_made(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    audio = write_recordings(tmp_path / "audio")
    manifest = audio / "manifest.jsonl"
    text = manifest.read_text(encoding="utf-8")
    # Speakers are called otherwise, or the folder is.
    text = re.sub("fsdd-(jackson|theo)", "theo", text) if source == "fsdd" else text.replace("an4/", "an5/")
    manifest.write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["evaluation_sets", str(tmp_path / "work"), str(audio)])
    with pytest.raises(DataSetError, match=message):
        evaluation_sets.main()
    assert not (tmp_path / "work").exists()


def test_segments_of_long_recordings_follow_each_other_and_are_their_text(folder: Path):
    (line,) = lines(folder, "synthetic-long")
    segments = line["segments"]
    assert len(segments) > 10
    assert " ".join(segment["text"] for segment in segments) == line["text"]
    times = [time for segment in segments for time in (segment["start"], segment["end"])]
    assert times == sorted(times)
    assert times[-1] > 30
