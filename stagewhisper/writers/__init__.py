"""Transcripts as files: plain text, subtitles, tables, JSON, lyrics."""

from stagewhisper.writers.catalogue import BUILT_IN_FORMATS, WRITERS, TextFile, Writer
from stagewhisper.writers.files import write_transcript
from stagewhisper.writers.timestamps import format_timestamp

__all__ = ["BUILT_IN_FORMATS", "WRITERS", "TextFile", "Writer", "format_timestamp", "write_transcript"]
