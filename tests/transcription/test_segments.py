"""A window's tokens become segments by the rules of openai/whisper, worked out by hand here."""

from dataclasses import replace

import pytest

from stagewhisper.decoding import DecodingResult
from stagewhisper.tokenizer import load_tokenizer
from stagewhisper.transcription.segments import Piece, cut, segment

TOKENIZER = load_tokenizer(51865)
BEGIN = TOKENIZER.timestamp_begin
HELLO, WORLD = TOKENIZER.encode(" hello")[0], TOKENIZER.encode(" world")[0]
RESULT = DecodingResult(
    tokens=(),
    text="",
    language="en",
    temperature=0.4,
    avg_logprob=-0.5,
    no_speech_prob=0.1,
    compression_ratio=1.2,
)


def at(seconds: float) -> int:
    """The timestamp token of that time."""
    return BEGIN + round(seconds / 0.02)


def pieces_and_advance(
    tokens: list[int], n_frames: int = 3000, n_audio_ctx: int = 1500
) -> tuple[list[tuple[tuple[int, ...], float, float]], int]:
    window = cut(tokens, timestamp_begin=BEGIN, n_audio_ctx=n_audio_ctx, n_frames=n_frames)
    return [(piece.tokens, round(piece.start, 6), round(piece.end, 6)) for piece in window.pieces], window.n_frames


def test_no_tokens_are_one_empty_piece() -> None:
    assert pieces_and_advance([], n_frames=500) == ([((), 0.0, 5.0)], 500)


def test_text_without_timestamps_lasts_for_the_whole_window() -> None:
    assert pieces_and_advance([HELLO, WORLD], n_frames=1234) == ([((HELLO, WORLD), 0.0, 12.34)], 1234)


def test_text_after_an_opening_time_ends_where_the_window_ends() -> None:
    assert pieces_and_advance([at(0), HELLO]) == ([((at(0), HELLO), 0.0, 30.0)], 3000)


def test_the_only_timestamp_ends_the_text() -> None:
    # openai/whisper takes the last timestamp for the end, even where it opened the text, and 0 for the start.
    assert pieces_and_advance([at(1), HELLO]) == ([((at(1), HELLO), 0.0, 1.0)], 3000)


def test_a_lone_closing_time_ends_the_text_and_finishes_the_window() -> None:
    assert pieces_and_advance([at(0.5), HELLO, at(2)]) == ([((at(0.5), HELLO, at(2)), 0.0, 2.0)], 3000)


def test_a_pair_of_times_cuts_and_the_unfinished_rest_is_left_for_the_next_window() -> None:
    tokens = [at(0.5), HELLO, at(2), at(2.4), WORLD]
    assert pieces_and_advance(tokens) == ([((at(0.5), HELLO, at(2)), 0.5, 2.0)], 200)


def test_a_lone_closing_time_after_a_pair_closes_the_last_piece() -> None:
    tokens = [at(0.5), HELLO, at(2), at(2.4), WORLD, at(3)]
    expected = [((at(0.5), HELLO, at(2)), 0.5, 2.0), ((at(2.4), WORLD, at(3)), 2.4, 3.0)]
    assert pieces_and_advance(tokens, n_frames=2000) == (expected, 2000)


def test_pairs_at_the_end_continue_from_the_last_closing_time() -> None:
    tokens = [at(0), HELLO, at(2), at(2), WORLD, at(3.5), at(3.5)]
    expected = [((at(0), HELLO, at(2)), 0.0, 2.0), ((at(2), WORLD, at(3.5)), 2.0, 3.5)]
    assert pieces_and_advance(tokens) == (expected, 350)


def test_three_times_in_a_row_give_a_piece_of_one_time_alone() -> None:
    tokens = [HELLO, at(1), at(2), at(3), WORLD]
    expected = [((HELLO, at(1)), round((HELLO - BEGIN) * 0.02, 6), 1.0), ((at(2),), 2.0, 2.0)]
    assert pieces_and_advance(tokens) == (expected, 200)


@pytest.mark.parametrize("tokens", [[at(0), at(0)], [at(0), at(0), HELLO], [HELLO, at(0), at(0)]])
def test_a_window_always_advances(tokens: list[int]) -> None:
    _, advance = pieces_and_advance(tokens, n_frames=700)
    assert advance == 700


def test_positions_are_as_long_as_the_model_makes_them() -> None:
    tokens = [BEGIN, HELLO, BEGIN + 10, BEGIN + 10]
    assert pieces_and_advance(tokens, n_audio_ctx=750) == ([((BEGIN, HELLO, BEGIN + 10), 0.0, 0.4)], 40)


def test_a_segment_counts_from_the_recordings_start() -> None:
    piece = Piece((at(1), HELLO, at(2)), 1.0, 2.0)
    found = segment(piece, id=7, seek=4500, result=RESULT, tokenizer=TOKENIZER)
    assert (found.id, found.seek, found.start, found.end) == (7, 4500, 46.0, 47.0)
    assert found.text == " hello"
    assert found.tokens == piece.tokens
    assert (found.temperature, found.avg_logprob) == (RESULT.temperature, RESULT.avg_logprob)
    assert (found.compression_ratio, found.no_speech_prob) == (RESULT.compression_ratio, RESULT.no_speech_prob)
    assert found.words is None


@pytest.mark.parametrize(
    "piece",
    [
        Piece((at(1), HELLO, at(1)), 1.0, 1.0),
        Piece((at(1), at(2)), 1.0, 2.0),
        Piece((at(1), *TOKENIZER.encode("  "), at(2)), 1.0, 2.0),
        Piece((), 0.0, 30.0),
    ],
    ids=["no time", "no text", "spaces", "nothing"],
)
def test_a_segment_without_time_or_text_is_emptied_but_kept(piece: Piece) -> None:
    found = segment(piece, id=0, seek=0, result=RESULT, tokenizer=TOKENIZER)
    assert (found.text, found.tokens) == ("", ())
    assert (found.start, found.end) == (piece.start, piece.end)


def test_special_tokens_are_kept_as_tokens_but_not_as_text() -> None:
    piece = Piece((at(1), HELLO, TOKENIZER.sot, at(2)), 1.0, 2.0)
    found = segment(piece, id=0, seek=0, result=replace(RESULT, temperature=0.0), tokenizer=TOKENIZER)
    assert found.text == " hello"
    assert found.tokens == piece.tokens
