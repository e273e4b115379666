"""The same arguments given to openai/whisper's program and to ours leave the same files behind."""

import importlib
import json
import sys
import warnings
from pathlib import Path

import pytest

from stagewhisper.audio import load_audio
from stagewhisper.cli import main

openai = importlib.import_module("whisper.transcribe")


@pytest.fixture
def run_openai(monkeypatch):
    """openai/whisper's program, with our decoding of audio files: its own needs ffmpeg to be installed."""
    samples = lambda path: load_audio(Path(path))  # noqa: E731
    monkeypatch.setattr(importlib.import_module("whisper.audio"), "load_audio", samples)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["whisper", *arguments])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that a CPU has no fp16
            openai.cli()

    return run


@pytest.mark.parametrize(
    "options",
    [
        "--language en --output_format all",
        "--beam_size None --output_format json",
        "--task translate --language English --initial_prompt two --condition_on_previous_text False -f tsv",
    ],
)
def test_the_files_equal_those_of_openai_whispers_program(
    options, run_openai, nano_pt, audio_dir, tmp_path, cache_dir, capsys
):
    names = ["fsdd/0_george_0.wav", "multilingual/leopard-de.wav"]
    arguments = [*(str(audio_dir / name) for name in names), *options.split(), "--model", str(nano_pt)]
    # Without fallback, since draws come from another random generator.
    arguments += ["--temperature_increment_on_fallback", "None", "--threads", "1"]
    run_openai(*arguments, "--output_dir", str(tmp_path / "openai"))
    ours = ["--output_dir", str(tmp_path / "ours"), "--model_dir", str(cache_dir)]
    assert main([*arguments, *ours]) == 0, capsys.readouterr().err
    expected = {path.name: _content(path, score=_near) for path in (tmp_path / "openai").iterdir()}
    written = {path.name: _content(path) for path in (tmp_path / "ours").iterdir() if path.suffix != ".lrc"}
    assert len(expected) >= len(names)
    assert written == expected


def test_verbose_lines_equal_those_of_openai_whispers_program(
    run_openai, nano_pt, audio_dir, tmp_path, cache_dir, capsys
):
    name = str(audio_dir / "longform" / "sonnet-1.mp3")
    arguments = [name, "--model", str(nano_pt), "--verbose", "True", "--language", "en", "--beam_size", "None"]
    arguments += ["--temperature_increment_on_fallback", "None", "--threads", "1", "--output_format", "txt"]
    run_openai(*arguments, "--output_dir", str(tmp_path / "openai"))
    expected = capsys.readouterr().out
    assert main([*arguments, "--output_dir", str(tmp_path / "ours"), "--model_dir", str(cache_dir)]) == 0
    assert capsys.readouterr().out == expected
    assert expected.count(" --> ") > 1


def _content(path, score=float):
    """The file's bytes; of JSON the values, each score passed through `score`."""
    if path.suffix != ".json":
        return path.read_bytes()
    result = json.loads(path.read_text())
    for segment in result["segments"]:
        segment.update({name: score(segment[name]) for name in ("avg_logprob", "no_speech_prob")})
    return result


def _near(value):
    # Two frameworks add in different orders: sums over 51,865 float32 logits part in the fifth digit.
    return pytest.approx(value, abs=1e-3)
