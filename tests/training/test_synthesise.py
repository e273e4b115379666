from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.recorded_folder import write_recordings
from tests.training.voices_here import needs_espeak, needs_flite
from training import other_voices, synthesise
from training.corpus import read_corpus


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["synthesise", *map(str, arguments)])
    synthesise.main()


@needs_espeak
def test_a_part_is_the_same_each_time_and_unlike_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def texts(folder: str, part: int) -> list[str]:
        run(monkeypatch, tmp_path / folder, "--utterances", 6, "--part", part)
        return [one.about.text for one in read_corpus(tmp_path / folder, [f"espeak-all-{part}"])]

    assert texts("a", 0) == texts("b", 0) != texts("a", 1)
    assert len(texts("a", 0)) == 6


@needs_espeak
@needs_flite
def test_another_engine_reads_a_readers_sentences_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(other_voices, "speak", lambda *_, **__: np.full(8000, 0.1, np.float32))
    audio = write_recordings(tmp_path / "audio")
    run(
        monkeypatch, tmp_path, "--engine", "flite", "--voice", "slt", "--utterances", 40,
        "--sentences", audio / "manifest.jsonl",
    )  # fmt: skip
    utterances = read_corpus(tmp_path, ["flite-slt-0"])
    assert {(one.about.source, one.about.speaker, one.about.language) for one in utterances} == {("flite", "slt", "en")}
    assert 2 < sum(one.about.text == "The door is open." for one in utterances) < 18


def test_a_held_out_voice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, tmp_path, "--engine", "flite", "--voice", "rms")
    assert stopped.value.code == 2
    assert "kal16, awb, slt" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
