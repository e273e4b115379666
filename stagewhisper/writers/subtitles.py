"""Subtitles, one cue per segment: SubRip (srt) and WebVTT (vtt)."""

from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import TextFile
from stagewhisper.writers.timestamps import format_timestamp


def write_srt(transcript: Transcript, file: TextFile) -> None:
    """Writes numbered cues with `HH:MM:SS,mmm` times."""
    for number, segment in enumerate(transcript, start=1):
        start = format_timestamp(segment.start, always_include_hours=True, decimal_marker=",")
        end = format_timestamp(segment.end, always_include_hours=True, decimal_marker=",")
        file.write(f"{number}\n{start} --> {end}\n{_cue_text(segment.text)}\n\n")


def write_vtt(transcript: Transcript, file: TextFile) -> None:
    """Writes the WEBVTT header and one cue per segment; times have no hours before the first hour."""
    file.write("WEBVTT\n\n")
    for segment in transcript:
        start, end = format_timestamp(segment.start), format_timestamp(segment.end)
        file.write(f"{start} --> {end}\n{_cue_text(segment.text)}\n\n")


def _cue_text(text: str) -> str:
    # A player would take an arrow inside the text for the next cue's times.
    return text.strip().replace("-->", "->")
