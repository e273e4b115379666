"""Plain text: one segment per line."""

from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import TextFile


def write_txt(transcript: Transcript, file: TextFile) -> None:
    """Writes each segment's text without the spaces around it; an empty segment gives an empty line."""
    for segment in transcript:
        file.write(f"{segment.text.strip()}\n")
