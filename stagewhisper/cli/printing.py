"""The text on standard output: one line per segment, headings between recordings."""

from stagewhisper.cli.streams import print_text
from stagewhisper.transcript import Segment
from stagewhisper.writers import format_timestamp


class TextPrinter:
    """Prints segments as they come; it remembers whether something stands above the next heading.

    Its methods raise what `print_text` raises.
    """

    def __init__(self, *, verbose: bool | None, with_headings: bool) -> None:
        """`verbose`: None prints the text alone, True the times too, False nothing."""
        self._verbose = verbose
        self._with_headings = with_headings
        self._is_first = True

    def heading(self, name: str) -> None:
        """Prints `==> name <==` as head(1) does, where there are several recordings."""
        if not self._with_headings or self._verbose is False:
            return
        print_text(("" if self._is_first else "\n") + f"==> {name} <==")
        self._is_first = False

    def segment(self, segment: Segment) -> None:
        """Prints one segment; with times the line is openai/whisper's."""
        if self._verbose:
            start, end = format_timestamp(segment.start), format_timestamp(segment.end)
            print_text(f"[{start} --> {end}] {segment.text}")
        elif self._verbose is None:
            print_text(segment.text.strip())
