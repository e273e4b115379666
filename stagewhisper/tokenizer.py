"""Text to tokens and back, with Whisper's special tokens looked up by name.

Special-token names inside a text are plain text to `encode`: a prompt that quotes "<|en|>" cannot steer the
model. (openai/whisper raises an error there.)
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from stagewhisper.errors import OptionError, TokenizerError
from stagewhisper.languages import LANGUAGES, language_code
from stagewhisper.vocabulary import (
    Vocabulary,
    embedded_vocabulary,
    read_vocabulary,
    timestamp_names,
    unspell,
    write_vocabulary,
)

_EMBEDDED = {51864: ("gpt2", 99), 51865: ("multilingual", 99), 51866: ("multilingual", 100)}
"""Size of OpenAI's checkpoints' vocabulary → its text tokens, and how many languages follow them."""

_NO_SPEECH_NAMES = ("<|nospeech|>", "<|nocaptions|>")  # the second in Hugging Face's files before large-v3

# Symbols of captions that are not spoken: "♪♪♪", "(LAUGHTER)", "[DAVID]". Source: whisper/tokenizer.py.
_NON_SPEECH_SYMBOLS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("'),
    *("((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
)
_MUSIC_SYMBOLS = "♩♪♫♬♭♮♯"  # often several tokens; the first one begins miscellaneous symbols only


def load_tokenizer(n_vocab: int, tokenizer_file: Path | None = None) -> "Tokenizer":
    """The tokenizer of a checkpoint with `n_vocab` tokens: its own tokenizer.json, or else an embedded one.

    Raises:
        TokenizerError: there is no such embedded vocabulary, the file is unreadable, or a token that
            Whisper needs is missing or not below `n_vocab`.
    """
    if tokenizer_file is None:
        return _embedded_tokenizer(n_vocab)
    return Tokenizer(read_vocabulary(tokenizer_file), n_vocab, source=str(tokenizer_file))


def _embedded_tokenizer(n_vocab: int) -> "Tokenizer":
    if n_vocab not in _EMBEDDED:
        sizes = ", ".join(map(str, _EMBEDDED))
        raise TokenizerError(
            f"No embedded vocabulary has {n_vocab} tokens; those of OpenAI's checkpoints have {sizes}. "
            f"Put the tokenizer.json that belongs to the checkpoint beside its weights."
        )
    name, n_languages = _EMBEDDED[n_vocab]
    vocabulary = embedded_vocabulary(name, _openai_special_names(n_languages))
    return Tokenizer(vocabulary, n_vocab, source=f"the embedded vocabulary {name!r}")


def _openai_special_names(n_languages: int) -> list[str]:
    """The special tokens of OpenAI's vocabularies, by ascending id. Source: whisper/tokenizer.py."""
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in list(LANGUAGES)[:n_languages]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *timestamp_names(),
    ]


class Tokenizer:
    """A vocabulary together with the ids that decoding asks for all the time; threads may share it."""

    def __init__(self, vocabulary: Vocabulary, n_vocab: int, *, source: str) -> None:
        """`source` names the vocabulary in messages.

        Raises:
            TokenizerError: a special token is missing or not below `n_vocab`.
        """
        self._vocabulary = vocabulary
        self._source = source
        self.n_vocab = n_vocab
        """Size of the checkpoint's vocabulary; some ids below it may have no text."""
        self.eot = self._special("<|endoftext|>")
        self.sot = self._special("<|startoftranscript|>")
        self.translate = self._special("<|translate|>")
        self.transcribe = self._special("<|transcribe|>")
        self.sot_lm = self._special("<|startoflm|>")
        self.sot_prev = self._special("<|startofprev|>")
        self.no_speech = self._special(*_NO_SPEECH_NAMES)
        self.no_timestamps = self._special("<|notimestamps|>")
        self.timestamp_begin = self._consecutive(timestamp_names())
        """Id of <|0.00|>; each following id is 20 ms later, up to <|30.00|>."""
        self.languages: Mapping[str, int] = self._languages()
        """Language code → token id, by ascending id."""

    @property
    def is_multilingual(self) -> bool:
        """False for English-only checkpoints, whose language and task tokens were never trained."""
        # They alone use GPT-2's text vocabulary, which " gazed" ends.
        return bool(self.languages) and self._vocabulary.spellings.get(50255) != "Ġgazed"

    def encode(self, text: str) -> list[int]:
        """The text tokens of `text`; no special token is added or recognised.

        Lone surrogates, which no token can hold, are read as U+FFFD, as tiktoken does.
        """
        valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids: list[int] = self._vocabulary.backend.encode(valid, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens` without timestamps; other special tokens appear by their names.

        Bytes that are no UTF-8, such as half a character's, become U+FFFD; an id without text gives none.
        """
        return self.decode_with_timestamps(token for token in tokens if token < self.timestamp_begin)

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`, timestamps written as "<|1.08|>"."""
        spellings = self._vocabulary.spellings
        return unspell("".join(spellings.get(token, "") for token in tokens)).decode("utf-8", "replace")

    def save(self, path: Path) -> None:
        """Write the vocabulary as a tokenizer.json from which `load_tokenizer` makes an equal tokenizer."""
        write_vocabulary(self._vocabulary, path)

    def sot_sequence(self, language: str | None, task: str, *, timestamps: bool) -> tuple[int, ...]:
        """The tokens that tell the decoder what to do, from <|startoftranscript|> on.

        English-only vocabularies need neither `language` nor `task`, and pay no attention to them.

        Raises:
            OptionError: the vocabulary has no such language, or there is no such task.
        """
        start = [self.sot]
        if self.is_multilingual:
            start += [self._language(language), self._task(task)]
        return tuple(start if timestamps else [*start, self.no_timestamps])

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """The tokens, by ascending id, that write what nobody says: speaker tags, brackets, notes of music.

        Hyphens and apostrophes are among them only where they begin a word.
        """
        first_tokens = {self.encode(text)[0] for text in (" -", " '")}
        for symbol in (*_NON_SPEECH_SYMBOLS, *_MUSIC_SYMBOLS):
            for tokens in (self.encode(symbol), self.encode(f" {symbol}")):
                if len(tokens) == 1 or symbol in _MUSIC_SYMBOLS:
                    first_tokens.add(tokens[0])
        return tuple(sorted(first_tokens))

    def _special(self, *names: str) -> int:
        """The id of the first of `names` that the vocabulary has."""
        for name in names:
            token = self._vocabulary.special.get(name)
            if token is None:
                continue
            if not 0 <= token < self.n_vocab:
                raise TokenizerError(
                    f"In {self._source} the token {name} has the id {token}, but the checkpoint has "
                    f"{self.n_vocab} tokens. Use the tokenizer.json that belongs to these weights."
                )
            return token
        raise TokenizerError(
            f"{self._source} has no token {' or '.join(names)}, which Whisper needs. "
            f"Use the tokenizer.json of a Whisper checkpoint."
        )

    def _consecutive(self, names: list[str]) -> int:
        """The id of the first name, after a check that the others follow it one by one."""
        first = self._special(names[0])
        for place, name in enumerate(names):
            token = self._special(name)
            if token != first + place:
                raise TokenizerError(
                    f"In {self._source} the token {name} has the id {token}, not {first + place}: "
                    f"timestamps must have consecutive ids. Use the tokenizer.json of a Whisper checkpoint."
                )
        return first

    def _languages(self) -> Mapping[str, int]:
        known = {code: f"<|{code}|>" for code in LANGUAGES if f"<|{code}|>" in self._vocabulary.special}
        ids = {code: self._special(name) for code, name in known.items()}
        return MappingProxyType(dict(sorted(ids.items(), key=lambda item: item[1])))

    def _language(self, language: str | None) -> int:
        if language is None:
            raise OptionError("A multilingual model needs a language before it can start. Detect it, or give one.")
        code = language_code(language)
        if code not in self.languages:
            known = ", ".join(self.languages)
            raise OptionError(f"This model has no language {code!r}. It has: {known}.")
        return self.languages[code]

    def _task(self, task: str) -> int:
        tasks = {"transcribe": self.transcribe, "translate": self.translate}
        if task not in tasks:
            raise OptionError(f"No task is called {task!r}. Known: {', '.join(tasks)}.")
        return tasks[task]
