"""Tab-separated values: start and end in whole milliseconds, then the text."""

from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import TextFile


def write_tsv(transcript: Transcript, file: TextFile) -> None:
    """Writes a header and one row per segment; a tab inside the text becomes a space."""
    file.write("start\tend\ttext\n")
    for segment in transcript:
        start_ms, end_ms = round(1000 * segment.start), round(1000 * segment.end)
        text = segment.text.strip().replace("\t", " ")
        file.write(f"{start_ms}\t{end_ms}\t{text}\n")
