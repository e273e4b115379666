"""When the speech of a recording begins and ends, by the timestamps that the model wrote.

A segment's `start` is not always what the model wrote. Where a window's text is a single segment, openai/whisper begins
the segment with the window, and this package does so too:

    tokens of a window from 30 s on    <|1.00|> Seven three nine. <|2.46|>
    Segment                            start 30.00, end 32.46
    judged                             start 31.00, end 32.46

Most clips of a test set are such windows, and by `Segment.start` a model that is right would be wrong on each of them.
"""

from collections.abc import Iterable

from stagewhisper.mel import FRAMES_PER_SECOND
from stagewhisper.transcript import Segment
from stagewhisper.vocabulary import N_TIMESTAMPS

_TIMESTAMP_STEP = 0.02  # seconds; Radford et al. 2022, section 2.3


def speech_times(segments: Iterable[Segment], *, timestamp_begin: int | None) -> tuple[float, float] | None:
    """Start of the first segment with text and end of the last one, in seconds; None when no segment has text.

    Each is the timestamp that the segment's tokens begin or end with. Where they have none there, the segment's own
    `start` or `end` stands in; where it has word times, both are its own.

    Args:
        segments: of one transcript.
        timestamp_begin: id of <|0.00|>; None when it is not known, or `tokens` holds no ids of Whisper's vocabulary.
    """
    times = [_times(segment, timestamp_begin) for segment in segments if segment.text.strip()]
    if not times:
        return None
    return min(start for start, _ in times), max(end for _, end in times)


def _times(segment: Segment, timestamp_begin: int | None) -> tuple[float, float]:
    if timestamp_begin is None or not segment.tokens or segment.words:
        return segment.start, segment.end
    start = _time(segment.tokens[0], segment.seek, timestamp_begin)
    end = _time(segment.tokens[-1], segment.seek, timestamp_begin)
    return segment.start if start is None else start, segment.end if end is None else end


def _time(token: int, seek: int, timestamp_begin: int) -> float | None:
    """The time that a timestamp stands for, in a window from frame `seek` on; None for any other token."""
    position = token - timestamp_begin
    if not 0 <= position < N_TIMESTAMPS:
        return None
    return seek / FRAMES_PER_SECOND + position * _TIMESTAMP_STEP
