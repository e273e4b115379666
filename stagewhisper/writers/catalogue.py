"""Which formats exist; a format's name is also its file extension."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from stagewhisper.registry import Registry
from stagewhisper.transcript import Transcript


@runtime_checkable
class TextFile(Protocol):
    """All that a writer may ask of a file: an open file, `sys.stdout`, a socket's stream, `io.StringIO`."""

    def write(self, text: str, /) -> object:
        """Takes the next piece of text; its newlines are "\\n"."""


Writer: TypeAlias = Callable[[Transcript, TextFile], None]
"""Writes one transcript to an open text file."""

_FUNCTIONS = {
    "txt": "stagewhisper.writers.txt:write_txt",
    "vtt": "stagewhisper.writers.subtitles:write_vtt",
    "srt": "stagewhisper.writers.subtitles:write_srt",
    "tsv": "stagewhisper.writers.tsv:write_tsv",
    "json": "stagewhisper.writers.json:write_json",
    "lrc": "stagewhisper.writers.lrc:write_lrc",
}

BUILT_IN_FORMATS = tuple(_FUNCTIONS)
"""The package's own formats, those that openai/whisper has too before the others."""

WRITERS: Registry[Writer] = Registry("writer", _FUNCTIONS)
"""All formats by name, those of third parties included (entry-point group `stagewhisper.writers`)."""
