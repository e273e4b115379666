"""What a window is told of the text before it."""

from collections.abc import Sequence

from stagewhisper.tokenizer import Tokenizer
from stagewhisper.transcript import Segment
from stagewhisper.transcription.options import TranscriptionOptions

RESET_ABOVE_TEMPERATURE = 0.5  # such a text is too uncertain to build on; openai/whisper, `transcribe.py`


class Conditioning:
    """Remembers the tokens of finished windows and makes the next one's prompt of them."""

    def __init__(self, tokenizer: Tokenizer, options: TranscriptionOptions, *, n_text_ctx: int) -> None:
        prompt = options.initial_prompt
        self._initial = [] if prompt is None else tokenizer.encode(" " + prompt.strip())
        self._tokens = list(self._initial)
        self._first = 0  # where the tokens begin that may still be used
        self._keeps = options.condition_on_previous_text
        self._carries = options.carry_initial_prompt
        self._n_room = n_text_ctx // 2 - 1 - len(self._initial)

    def prompt(self) -> list[int]:
        """Tokens to put before the next window; decoding keeps as many of the last ones as fit."""
        if not self._carries:
            return self._tokens[self._first :]
        recent = self._tokens[max(len(self._initial), self._first) :]
        return self._initial + recent[-self._n_room :]

    def extend(self, segments: Sequence[Segment], *, temperature: float) -> None:
        """Take in the segments of a window that was decoded at `temperature`."""
        for segment in segments:
            self._tokens += segment.tokens
        if not self._keeps or temperature > RESET_ABOVE_TEMPERATURE:
            self._first = len(self._tokens)
