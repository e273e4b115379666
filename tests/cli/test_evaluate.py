"""`stagewhisper evaluate` with the embedded model, on the recording that comes with the project."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stagewhisper
from stagewhisper.cli import main
from stagewhisper.cli.evaluate import _audio_of
from stagewhisper.errors import DataSetError, StagewhisperError
from stagewhisper.evaluation import evaluate, load_dataset
from stagewhisper.hub.known import EMBEDDED, embedded_path
from tests.sample import SAMPLE, SAMPLE_TEXT

QUICK = ["--model", EMBEDDED, "--threads", "1", "--beam-size", "None", "--normalizer", "basic", "--offline"]
WRONG = re.sub(r"\w+", "xyz", SAMPLE_TEXT)
TEXTS = {"right.wav": SAMPLE_TEXT, "wrong.wav": WRONG, "short.wav": f"{SAMPLE_TEXT} stop"}
N_WORDS = len(SAMPLE_TEXT.split())
N_REFERENCE = 3 * N_WORDS + 1


@pytest.fixture
def manifest(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three copies of the sample, in the working directory, with its text, another, and one word too many."""
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in TEXTS:
        shutil.copy(SAMPLE, name)
    yield write([{"audio": name, "text": text, "language": "en"} for name, text in TEXTS.items()])
    shutil.rmtree(cache_dir / "evaluations", ignore_errors=True)  # what runs with failures keep


def write(records: list[dict[str, Any]]) -> Path:
    path = Path("set.jsonl")
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def journals(cache_dir: Path) -> list[Path]:
    return list((cache_dir / "evaluations").glob("*"))


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_the_error_rate_of_all_clips(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The model writes the sample's words three times: all right, all substituted, one deleted.
    assert main(["evaluate", str(manifest), *QUICK, "--language", "en"]) == 0
    lines = lines_of(capsys)
    assert lines[0][:2] == ["clips", "WER"]
    wer = f"{100 * (N_WORDS + 1) / N_REFERENCE:.2f}"
    assert lines[1][:4] == ["all", "3", wer, "%"]
    assert lines[1][-4:-1] == [str(N_WORDS), "1", "0"]
    assert lines[2][:5] == ["language", "en", "3", wer, "%"]


def test_the_file_has_the_numbers_that_the_library_gives(manifest: Path, cache_dir: Path) -> None:
    assert main(["evaluate", str(manifest), *QUICK, "--json", "out.json", "--temperature", "0"]) == 0
    document = json.loads(Path("out.json").read_text(encoding="utf-8"))
    model = stagewhisper.load(EMBEDDED, threads=1, cache_dir=cache_dir)
    found = evaluate(model, load_dataset(manifest), normalizer="basic").to_dict()
    for measure in ("wer", "cer", "language", "timing", "silence", "n_five_gram_insertions"):
        assert document["summary"][measure] == found["summary"][measure]
    assert [clip["diff"] for clip in document["clips"]] == [clip["diff"] for clip in found["clips"]]
    assert document["model"]["name"] == EMBEDDED
    assert document["model"]["engine"] == "onnxruntime"
    assert document["model"]["load_elapsed"] > 0
    assert document["machine"]["threads"] == 1
    assert document["options"]["beam_size"] is None


def test_the_file_and_the_page_tell_where_the_encoder_ran(manifest: Path) -> None:
    quick = [*QUICK, "--language", "en", "--limit", "1"]
    options = ["--encoder-engine", "reference", "--encoder-device", "cpu"]
    assert main(["evaluate", str(manifest), *quick, *options, "--json", "out.json", "--html", "out.html"]) == 0
    model = json.loads(Path("out.json").read_text(encoding="utf-8"))["model"]
    assert (model["engine"], model["encoder_engine"], model["encoder_device"]) == ("onnxruntime", "reference", "cpu")
    assert "encoder_precision" not in model
    assert "onnxruntime · fp32 · encoder: reference cpu" in Path("out.html").read_text(encoding="utf-8")


def test_the_page_has_the_sound_of_clips(manifest: Path) -> None:
    assert main(["evaluate", str(manifest), *QUICK, "--html", "out.html"]) == 0
    page = Path("out.html").read_text(encoding="utf-8")
    assert "wrong.wav" in page
    assert "data:audio/webm" in page


def test_a_clip_that_cannot_be_read_is_reported_and_the_rest_is_done(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write([{"audio": "none.wav", "text": "x"}, {"audio": "right.wav", "text": SAMPLE_TEXT}])
    assert main(["evaluate", str(manifest), *QUICK, "--json", "out.json"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("stagewhisper: error: There is no file 'none.wav'")
    assert "failed: 1" in printed.out
    assert json.loads(Path("out.json").read_text())["summary"]["n_clips"] == 1


def test_after_a_failure_only_the_failed_clips_are_done_again(
    manifest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    transcribe = stagewhisper.Model.transcribe

    def counted(model: stagewhisper.Model, audio: Any, **options: Any) -> Any:
        if "clip_timestamps" not in options:
            heard.append(audio.name)
        return transcribe(model, audio, **options)

    monkeypatch.setattr(stagewhisper.Model, "transcribe", counted)
    Path("short.wav").rename("away.wav")
    command = ["evaluate", str(manifest), *QUICK, "--reference", "right.json"]
    assert main([*command[:-2], "--limit", "1", "--json", "right.json"]) == 0
    heard.clear()
    assert main(command) == 2
    assert heard == ["right.wav", "wrong.wav", "short.wav"]
    assert len(journals(cache_dir)) == 1
    heard.clear()
    Path("away.wav").rename("short.wav")
    assert main(command) == 0
    assert heard == ["short.wav"]
    assert journals(cache_dir) == []


def test_the_table_is_printed_before_files_are_written(
    manifest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: str, text: str) -> None:
        raise StagewhisperError(f"Cannot write {path!r}: the disk is full.")

    monkeypatch.setattr("stagewhisper.cli.evaluate.write_text", full)
    assert main(["evaluate", str(manifest), *QUICK, "--limit", "1", "--json", "out.json"]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith("all")
    assert "the disk is full" in printed.err
    assert len(journals(cache_dir)) == 1  # nothing is lost


def test_a_model_in_a_folder_is_shown_by_its_last_name(manifest: Path) -> None:
    shutil.copytree(embedded_path(), "models/mine")
    here = str(Path("models/mine").absolute())
    assert main(["evaluate", str(manifest), "--model", here, *QUICK[2:], "--limit", "1", "--json", "out.json"]) == 0
    text = Path("out.json").read_text(encoding="utf-8")
    assert json.loads(text)["model"]["name"] == "mine"
    assert str(Path.cwd()) not in text


def test_what_would_steer_a_terminal_is_spelled_out(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "\x1b[31mred\nall  9  0.00 %"
    write([
        {"audio": "right.wav", "text": SAMPLE_TEXT, "subset": odd},
        {"audio": "\x1b[31mnone.wav", "text": "x", "subset": "x"},
    ])  # fmt: skip
    assert main(["evaluate", str(manifest), *QUICK]) == 2
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"subset \x1b[31mred\nall  9  0.00 %" in printed.out
    assert r"\x1b[31mnone.wav" in printed.err


def test_an_earlier_run_is_a_reference(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(manifest), *QUICK, "--json", "earlier.json"]) == 0
    earlier = json.loads(Path("earlier.json").read_text())
    earlier["clips"][1]["hypothesis"] = WRONG  # better than what the model writes
    Path("earlier.json").write_text(json.dumps(earlier))
    capsys.readouterr()
    assert main(["evaluate", str(manifest), *QUICK, "--reference", "earlier.json"]) == 0
    wer = 100 / N_REFERENCE  # one word deleted
    assert f"QoI 66.7: no worse than {EMBEDDED} (WER {wer:.2f} %) on 2 of 3 clips" in capsys.readouterr().out


def test_a_second_model_is_a_reference(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(manifest), *QUICK, "--reference", EMBEDDED, "--limit", "1"]) == 0
    assert f"QoI 100.0: no worse than {EMBEDDED} (WER 0.00 %) on 1 of 1 clips" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_where_it_stopped(
    manifest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    transcribe = stagewhisper.Model.transcribe

    def counted(model: stagewhisper.Model, audio: Any, **options: Any) -> Any:
        if "clip_timestamps" not in options:
            if heard == ["right.wav"]:
                heard.clear()
                raise KeyboardInterrupt
            heard.append(audio.name)
        return transcribe(model, audio, **options)

    monkeypatch.setattr(stagewhisper.Model, "transcribe", counted)
    command = ["evaluate", str(manifest), *QUICK, "--json", "out.json"]
    assert main(command) == 130
    assert not Path("out.json").exists()
    assert len(journals(cache_dir)) == 1
    assert main(command) == 0
    assert heard == ["wrong.wav", "short.wav"]
    assert json.loads(Path("out.json").read_text())["summary"]["n_clips"] == 3
    assert journals(cache_dir) == []


def test_without_resume_everything_is_done_anew(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_calls = 0
    transcribe = stagewhisper.Model.transcribe

    def third_fails(model: stagewhisper.Model, audio: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt
        return transcribe(model, audio, **options)

    monkeypatch.setattr(stagewhisper.Model, "transcribe", third_fails)
    command = ["evaluate", str(manifest), *QUICK]
    assert main(command) == 130
    assert main([*command, "--resume", "False"]) == 0
    assert n_calls == 3 + 1 + len(TEXTS)  # with the warm-up


def test_a_missing_package_is_named_before_a_model_is_loaded(
    manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagewhisper.model.load", lambda *_, **__: pytest.fail("the model was loaded"))
    monkeypatch.setitem(sys.modules, "jiwer", None)  # as if it were not installed
    assert main(["evaluate", str(manifest), *QUICK]) == 2
    assert "'jiwer', which is not installed. Install it with: pip install '.[evaluation]'" in (capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "There is no data set 'none'"),
        (["set.jsonl", "--limit", "0"], "--limit is 0, and has to be 1 or more"),
        (["set.jsonl", "--json", "none/out.json"], "Cannot write 'none/out.json': No such file or directory"),
        (["set.jsonl", "--json", "."], "Cannot write '.': it is a folder"),
        (["set.jsonl", "--json", "x", "--html", "./x"], "'x' would be written twice"),
        (["set.jsonl", "--reference", "none.json"], "The results 'none.json' cannot be read"),
        (["set.jsonl", "--reference", "others.json"], "The reference has none of these clips"),
        (["set.jsonl", "--reference", "largest"], "'largest'"),
        (["set.jsonl", "--beam-size", "0"], "beam_size is 0"),
        (["set.jsonl", "--clip-timestamps", "0,1"], "there is no option --clip-timestamps"),
        (["set.jsonl", "--normalizer", "french"], "invalid choice: 'french'"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    arguments: list[str],
    message: str,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {
        "format": 1,
        "model": {},
        "clips": [{"id": "set/x", "reference": "", "hypothesis": "", "task": "translate"}],
    }
    Path("others.json").write_text(json.dumps(others))
    monkeypatch.setattr("stagewhisper.model.load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert main(["evaluate", *arguments, *QUICK[:2]]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_recording_that_is_gone_costs_the_page_its_sound_alone(tmp_path: Path):
    class Gone:
        def read(self) -> bytes:
            raise DataSetError("The table is gone.")

        def stamp(self) -> str:
            return "gone"

    shutil.copy(SAMPLE, tmp_path / "there.wav")
    lines = [{"audio": name, "text": "seven"} for name in ("there.wav", "gone.wav")]
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    dataset = load_dataset(tmp_path)
    there, gone = dataset.items
    audio_of = _audio_of([replace(dataset, items=(there, replace(gone, source=Gone())))])
    assert audio_of(there.id)
    assert audio_of(gone.id) is None
