"""The part of Whisper's vocabulary that the training texts use, numbered from 0 on."""

from collections.abc import Iterable, Sequence

from stagewhisper.tokenizer import Tokenizer, load_tokenizer
from training.corpus import Utterance
from training.grammar.lexicon import LANGUAGES
from training.grammar.prompts import plain

N_VOCAB = 51_865
N_TIMESTAMPS = 1501
IGNORED = -100
"""In the place of a row: nothing is judged here. PyTorch's own default."""


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

    def rows(self, text: str) -> list[int]:
        """The rows of " " and `text`, word by word: no token of Whisper's goes on behind a space."""
        return [self.row(token) for word in text.split() for token in self.tokenizer.encode(f" {word}")]

    def language_row(self, code: str) -> int:
        """The row of a language's token."""
        return self.row(self.tokenizer.languages[code])

    def _special_tokens(self) -> list[int]:
        own = self.tokenizer
        languages = [own.languages[code] for code in LANGUAGES]
        tasks = [own.transcribe, own.translate]
        return [own.eot, own.sot, *tasks, own.sot_prev, own.no_speech, own.no_timestamps, *languages]


def vocabulary_of(utterances: Sequence[Utterance]) -> CompactVocabulary:
    """A row for every token of the utterances' texts and translations, as they are and as a plain prompt has them."""
    texts = [text for u in utterances for text in (u.about.text, u.about.translation) if text]
    words = {word for text in texts for form in (text, plain(text)) for word in form.split()}
    tokenizer = load_tokenizer(N_VOCAB)
    return CompactVocabulary(token for word in words for token in tokenizer.encode(f" {word}"))


def phoneme_ids_of(utterances: Sequence[Utterance]) -> dict[str, int]:
    """A row for every phoneme of the utterances; 0 is silence, whose name is ""."""
    names = {name for u in utterances for name in u.about.phonemes}
    names |= {name for u in utterances for _, name in u.about.phoneme_times}
    return {name: row for row, name in enumerate(["", *sorted(names - {""})])}
