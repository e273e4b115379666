"""Lyrics (LRC): `[mm:ss.xx]text`, one line per segment, as music players show them."""

from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import TextFile


def write_lrc(transcript: Transcript, file: TextFile) -> None:
    """Writes each segment with the time at which it starts; LRC has no hours, so minutes go beyond 59."""
    for segment in transcript:
        # A line without a time stamp would be dropped by players: the text has to stay on one line.
        text = " ".join(segment.text.strip().splitlines())
        file.write(f"[{_lrc_time(segment.start)}]{text}\n")


def _lrc_time(seconds: float) -> str:
    minutes, centiseconds = divmod(round(seconds * 100.0), 6000)
    return f"{minutes:02d}:{centiseconds // 100:02d}.{centiseconds % 100:02d}"
