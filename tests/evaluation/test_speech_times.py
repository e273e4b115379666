"""Times are judged by the timestamps that the model wrote, where there are any."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stagewhisper.decoding import DecodingResult
from stagewhisper.evaluation import evaluate, load_dataset
from stagewhisper.evaluation.speech_times import speech_times
from stagewhisper.tokenizer import load_tokenizer
from stagewhisper.transcript import Segment, Word
from stagewhisper.transcription.segments import cut, segment
from tests.evaluation.planted import FakeModel, transcript, write_manifest

TOKENIZER = load_tokenizer(51_865)
BEGIN = TOKENIZER.timestamp_begin
TEXT = tuple(TOKENIZER.encode(" Seven three nine."))
WINDOW = 3000  # frames


def at(time: float) -> int:
    """The token of a timestamp."""
    return BEGIN + round(time / 0.02)


def window(*tokens: int, seek: int = 0, n_frames: int = WINDOW) -> list[Segment]:
    """The segments that the tokens of one window are cut into, as openai/whisper cuts them."""
    pieces = cut(tokens, timestamp_begin=BEGIN, n_audio_ctx=1500, n_frames=n_frames).pieces
    result = DecodingResult(
        tokens, text="", language="en", temperature=0.0, avg_logprob=-0.1, no_speech_prob=0.1, compression_ratio=1.0
    )
    return [segment(piece, id=i, seek=seek, result=result, tokenizer=TOKENIZER) for i, piece in enumerate(pieces)]


def judged(segments: list[Segment], *, begin: int | None = BEGIN) -> Any:
    times = speech_times(segments, timestamp_begin=begin)
    return None if times is None else pytest.approx(times)


def test_the_only_segment_of_a_window_starts_where_the_model_wrote_it() -> None:
    segments = window(at(0.82), *TEXT, at(2.46))
    assert [(one.start, one.end) for one in segments] == [(0, 2.46)]  # openai/whisper's rule
    assert judged(segments) == (0.82, 2.46)


def test_a_later_window_counts_from_its_first_frame() -> None:
    segments = window(at(0.5), *TEXT, at(2.46), seek=3046)
    assert segments[0].start == pytest.approx(30.46)
    assert judged(segments) == (30.96, 32.92)


def test_of_several_segments_the_first_start_and_the_last_end_count() -> None:
    segments = window(at(0.3), *TEXT, at(2.0), at(3.5), *TEXT, at(5.04))
    assert len(segments) == 2
    segments += window(at(0.7), *TEXT, at(1.9), seek=WINDOW)
    assert judged(segments) == (0.3, 31.9)
    assert judged(segments[:2]) == (0.3, 5.04)


def test_a_segment_of_several_is_judged_by_the_times_that_it_has() -> None:
    segments = window(at(0.3), *TEXT, at(2.0), at(3.5), *TEXT, at(5.04))
    assert judged(segments) == (0.3, 5.04)
    assert judged(segments, begin=None) == (0.3, 5.04)


def test_a_segment_without_text_has_no_times() -> None:
    silent = replace(window(at(0.2), *TEXT, at(0.4))[0], text=" ")
    assert judged([silent, *window(at(0.6), *TEXT, at(2.0), seek=WINDOW)]) == (30.6, 32.0)
    assert judged([silent]) is None
    assert judged([]) is None


def test_tokens_without_timestamps_leave_it_to_the_segment() -> None:
    segments = window(*TEXT, seek=WINDOW, n_frames=400)  # as with --without-timestamps
    assert judged(segments) == (30, 34)


def test_a_timestamp_at_one_end_counts_for_that_end_alone() -> None:
    assert judged(window(*TEXT, at(2.46))) == (0, 2.46)
    only_start = replace(window(at(0.5), *TEXT)[0], end=4.0)
    assert judged([only_start]) == (0.5, 4.0)


def test_segments_without_tokens_and_unknown_vocabularies_leave_it_to_the_segment() -> None:
    (whole,) = window(at(0.82), *TEXT, at(2.46))
    assert judged([replace(whole, tokens=())]) == (0, 2.46)
    assert judged([whole], begin=None) == (0, 2.46)


def test_ids_beyond_the_last_timestamp_are_no_timestamps() -> None:
    (whole,) = window(at(0.82), *TEXT, at(30))
    assert judged([whole]) == (0.82, 30)
    assert judged([replace(whole, tokens=(BEGIN - 1, *TEXT, BEGIN + 1501))]) == (0, 30)


def test_times_of_words_come_before_timestamps() -> None:
    (whole,) = window(at(0.82), *TEXT, at(2.46))
    with_words = replace(whole, start=0.9, end=2.4, words=(Word(" Seven", 0.9, 2.4, 0.9),))
    assert judged([with_words]) == (0.9, 2.4)


@pytest.mark.parametrize("n_vocab", [51_864, 51_865, 51_866])
def test_every_vocabulary_has_its_own_first_timestamp(n_vocab: int) -> None:
    begin = load_tokenizer(n_vocab).timestamp_begin
    (whole,) = window(at(0.82), *TEXT, at(2.46))
    shifted = replace(whole, tokens=(begin + 41, *TEXT, begin + 123))
    assert judged([shifted], begin=begin) == (0.82, 2.46)


RECORD = {"audio": "a.wav", "text": "seven three nine"}


@pytest.mark.parametrize(
    "truth", [{"start": 0.8, "end": 2.5}, {"segments": [{"start": 0.8, "end": 1.5}, {"start": 2.0, "end": 2.5}]}]
)
def test_an_evaluation_finds_a_single_utterance_right_that_its_segment_would_have_wrong(
    truth: dict[str, Any], tmp_path: Path
) -> None:
    dataset = load_dataset(write_manifest(tmp_path, [{**RECORD, **truth}]))
    model = FakeModel({"a.wav": transcript(*window(at(0.82), *TEXT, at(2.46)))})

    unknown = evaluate(model, dataset)
    assert unknown.clips[0].start_error == pytest.approx(-0.8)
    assert (unknown.summary.timing.n_judged, unknown.summary.timing.n_within) == (1, 0)

    model.tokenizer = TOKENIZER
    found = evaluate(model, dataset)
    assert (found.clips[0].start_error, found.clips[0].end_error) == pytest.approx((0.02, -0.04))
    assert (found.summary.timing.n_judged, found.summary.timing.n_within) == (1, 1)


@pytest.mark.parametrize("tokenizer", [None, SimpleNamespace(), SimpleNamespace(timestamp_begin=None)])
def test_a_system_with_another_tokenizer_is_judged_by_its_segments(tokenizer: object, tmp_path: Path) -> None:
    dataset = load_dataset(write_manifest(tmp_path, [{**RECORD, "start": 0.8, "end": 2.5}]))
    model = FakeModel({"a.wav": transcript(*window(at(0.82), *TEXT, at(2.46)))}, tokenizer=tokenizer)
    assert evaluate(model, dataset).clips[0].start_error == pytest.approx(-0.8)
