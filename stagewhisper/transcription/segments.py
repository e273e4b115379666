"""Cut a window's tokens into segments at their timestamps.

Source: openai/whisper, `transcribe.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewhisper.audio import SAMPLE_RATE
from stagewhisper.decoding import DecodingResult
from stagewhisper.mel import HOP_SAMPLES, N_FRAMES
from stagewhisper.tokenizer import Tokenizer
from stagewhisper.transcript import Segment


@dataclass(frozen=True)
class Piece:
    """A run of tokens with its times in seconds from the window's start."""

    tokens: tuple[int, ...]
    start: float
    end: float


@dataclass(frozen=True)
class Cut:
    """A window, cut up."""

    pieces: tuple[Piece, ...]
    n_frames: int
    """Mel frames that are done with, never none: the next window starts after them."""


def seconds(n_frames: int) -> float:
    """The duration of so many mel frames."""
    return n_frames * HOP_SAMPLES / SAMPLE_RATE


def cut(tokens: Sequence[int], *, timestamp_begin: int, n_audio_ctx: int, n_frames: int) -> Cut:
    """The pieces of a window of `n_frames` mel frames.

    Two timestamps in a row close one segment and open the next. If the text goes on after the last such pair, that
    unfinished rest is left for the next window; if a lone timestamp ends the text, nothing is spoken after it.
    """
    frames_per_position = N_FRAMES // n_audio_ctx
    seconds_per_position = seconds(frames_per_position)
    is_timestamp = [token >= timestamp_begin for token in tokens]
    borders = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    ends_with_lone_timestamp = is_timestamp[-2:] == [False, True]
    if not borders:
        return Cut((_uncut(tokens, timestamp_begin, seconds_per_position, n_frames),), n_frames)
    if ends_with_lone_timestamp:
        borders.append(len(tokens))
    pieces = []
    for first, last in zip([0, *borders], borders, strict=False):
        start, end = tokens[first] - timestamp_begin, tokens[last - 1] - timestamp_begin
        pieces.append(Piece(tuple(tokens[first:last]), start * seconds_per_position, end * seconds_per_position))
    last_position = tokens[borders[-1] - 1] - timestamp_begin
    if ends_with_lone_timestamp or last_position == 0:  # without timestamp rules a pair of zeros would stop time
        return Cut(tuple(pieces), n_frames)
    return Cut(tuple(pieces), last_position * frames_per_position)


def _uncut(tokens: Sequence[int], timestamp_begin: int, seconds_per_position: float, n_frames: int) -> Piece:
    """The whole window as one piece, up to its last timestamp if it has one."""
    end = seconds(n_frames)
    timestamps = [token for token in tokens if token >= timestamp_begin]
    if timestamps and timestamps[-1] != timestamp_begin:
        end = (timestamps[-1] - timestamp_begin) * seconds_per_position
    return Piece(tuple(tokens), 0.0, end)


def segment(piece: Piece, *, id: int, seek: int, result: DecodingResult, tokenizer: Tokenizer) -> Segment:  # noqa: A002
    """The piece as a segment of the recording; one without text or duration keeps its place but loses its tokens."""
    offset = seconds(seek)
    start, end = offset + piece.start, offset + piece.end
    text = tokenizer.decode([token for token in piece.tokens if token < tokenizer.eot])
    is_empty = start == end or not text.strip()
    return Segment(
        id=id,
        seek=seek,
        start=start,
        end=end,
        text="" if is_empty else text,
        tokens=() if is_empty else piece.tokens,
        temperature=result.temperature,
        avg_logprob=result.avg_logprob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
    )
