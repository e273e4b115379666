"""The part of Whisper's vocabulary that the training texts use, numbered from 0 on."""

from collections.abc import Iterable

from stagewhisper.tokenizer import Tokenizer, load_tokenizer
from training.voices import LANGUAGES

N_VOCAB = 51_865
N_TIMESTAMPS = 1501


class CompactVocabulary:
    """Rows of the model's table: the used tokens in order, then "never", then the timestamps."""

    def __init__(self, used_tokens: Iterable[int]) -> None:
        self.tokenizer: Tokenizer = load_tokenizer(N_VOCAB)
        self.used_tokens = tuple(sorted(set(used_tokens) | set(self._special_tokens())))
        self._row = {token: row for row, token in enumerate(self.used_tokens)}

    @property
    def n_used(self) -> int:
        """Tokens with a row of their own, timestamps apart."""
        return len(self.used_tokens)

    @property
    def n_unused(self) -> int:
        """Tokens that share the row "never"."""
        return N_VOCAB - N_TIMESTAMPS - self.n_used

    def row(self, token: int) -> int:
        """The row of a token that is used, or of a timestamp."""
        if token >= self.tokenizer.timestamp_begin:
            return self.n_used + 1 + token - self.tokenizer.timestamp_begin
        return self._row[token]

    def timestamp_row(self, position: int) -> int:
        """The row of `<|position · 0.02|>`."""
        return self.n_used + 1 + min(max(position, 0), N_TIMESTAMPS - 1)

    def token(self, row: int) -> int | None:
        """The token of a row; None for "never"."""
        if row < self.n_used:
            return self.used_tokens[row]
        return None if row == self.n_used else self.tokenizer.timestamp_begin + row - self.n_used - 1

    def words(self, text: str) -> list[list[int]]:
        """The rows of each word of `text`; together they are the whole text's, as no token of Whisper's spans a space."""
        return [[self.row(token) for token in self.tokenizer.encode(f" {word}")] for word in text.split()]

    def language_row(self, code: str) -> int:
        """The row of a language's token."""
        return self.row(self.tokenizer.languages[code])

    def _special_tokens(self) -> list[int]:
        own = self.tokenizer
        languages = [own.languages[code] for code in LANGUAGES]
        return [
            own.eot,
            own.sot,
            own.transcribe,
            own.translate,
            own.sot_prev,
            own.no_speech,
            own.no_timestamps,
            *languages,
        ]


def tokens_of(tokenizer: Tokenizer, texts: Iterable[str]) -> set[int]:
    """Every token that occurs in the texts, each as its words are encoded alone."""
    words = {word for text in texts for word in text.split()}
    return {token for word in words for token in tokenizer.encode(f" {word}")}
