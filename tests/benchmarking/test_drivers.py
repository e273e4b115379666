"""What drivers hand over is what was asked: the same decoding for all."""

import pytest

from stagewhisper.benchmarking import Decoding, drive_openai
from stagewhisper.benchmarking.drive_transformers import _tokens
from stagewhisper.benchmarking.task import CannotError, Task
from stagewhisper.benchmarking.texts import special_tokens
from stagewhisper.hub.known import embedded_path


def task(**changes):
    fields = {
        "engine": "openai-whisper", "device": "cpu", "dtype": "float32", "batch": 1, "model": "x.pt", "audio": "a",
        "decoding": Decoding(), "suppressed": (1, 2), "threads": None, "cache_dir": None,
    }  # fmt: skip
    return Task(**{**fields, **changes})


def test_a_task_survives_the_pipe():
    asked = task(decoding=Decoding(n_beams=2, n_tokens=7))
    assert Task.from_dict({**asked.to_dict(), "suppressed": [1, 2]}) == asked


def test_openai_whisper_refuses_beams_in_several_windows():
    with pytest.raises(CannotError, match="one window at a time"):
        drive_openai.load(task(batch=2, decoding=Decoding(n_beams=2)))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([50258, 1, 2, 3, 7, 8, 50257, 50257], [7, 8]),  # with the prompt
        ([7, 8, 50257], [7, 8]),
        ([7, 8], [7, 8]),
        ([], []),
    ],
)
def test_rows_of_transformers_are_cut_to_the_text(row, text):
    assert _tokens(row, start=50258, eot=50257) == text


def test_what_is_suppressed_for_all_is_what_openai_whisper_suppresses_with_the_end():
    import whisper

    own = whisper.tokenizer.get_tokenizer(True)
    expected = (own.eot, own.sot, own.translate, own.transcribe, own.sot_lm, own.sot_prev, own.no_speech)
    assert special_tokens(embedded_path()) == expected
