"""What a transcription gives back: words in segments in a transcript, with openai/whisper's field names."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """One word with its place in the recording, in seconds."""

    word: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, from a phrase to a few sentences, as the model divided it."""

    id: int
    seek: int
    """First mel frame (10 ms each) of the window that this segment was decoded from."""
    start: float
    end: float
    text: str
    """Starts with a space in most languages, as the model wrote it."""
    tokens: tuple[int, ...]
    """Text and timestamp tokens."""
    temperature: float
    """The temperature at which the window passed, or the last one tried."""
    avg_logprob: float
    compression_ratio: float
    """Size of the window's text over its zlib-compressed size; above 2.4 it is probably a loop."""
    no_speech_prob: float
    words: tuple[Word, ...] | None = None
    """None unless word timestamps were asked for."""

    def to_dict(self) -> dict[str, Any]:
        """The segment as openai/whisper's JSON has it: same keys, same order, no `words` when there are none."""
        fields = asdict(self)
        fields["tokens"] = list(self.tokens)
        words = fields.pop("words")
        if words is not None:
            fields["words"] = list(words)
        return fields


@dataclass(frozen=True)
class Transcript:
    """The whole result for one recording; iterating over it gives its segments."""

    text: str
    segments: tuple[Segment, ...]
    language: str
    """Code of the spoken language, such as "en"."""
    language_probability: float | None = None
    """How sure the detection was, from 0 to 1; None when the language was given."""
    duration: float = 0.0
    """Length of the recording in seconds."""

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def to_dict(self) -> dict[str, Any]:
        """The transcript as openai/whisper's result dictionary: `text`, `segments`, `language`."""
        return {
            "text": self.text,
            "segments": [segment.to_dict() for segment in self.segments],
            "language": self.language,
        }
