"""A vocabulary's text tokens and special tokens, embedded in the package or read from a tokenizer.json.

Text tokens are byte-level: each is a run of bytes, written with one printable character per byte as GPT-2
does (a space is "Ġ"). Special tokens such as "<|en|>" stand beside them, and are known by name only.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from stagewhisper.errors import TokenizerError

_PRINTABLE = bytes([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])
_OTHERS = bytes(byte for byte in range(256) if byte not in _PRINTABLE)

SINGLE_BYTES = _PRINTABLE + _OTHERS
"""The bytes of tokens 0 to 255. Source: openai/gpt-2, src/encoder.py."""

_CHAR_OF_BYTE = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
_BYTE_OF_CHAR = {char: byte for byte, char in _CHAR_OF_BYTE.items()}

N_TIMESTAMPS = 1501
"""From <|0.00|> to <|30.00|> in steps of 20 ms."""


@dataclass(frozen=True)
class Vocabulary:
    """What an encoder and a decoder of text need; immutable, so threads may share it."""

    backend: Backend
    """Splits text into tokens; it knows no special tokens, so their names in a text stay text."""
    spellings: Mapping[int, str]
    """Token id → its bytes, one character each, special tokens included; `unspell` gives the bytes."""
    special: Mapping[str, int]
    """Name → token id, by ascending id; the timestamps are among them."""


def spell(token: bytes) -> str:
    """The printable characters that stand for `token`, one per byte."""
    return token.decode("latin-1").translate(_CHAR_OF_BYTE)


def unspell(spelling: str) -> bytes:
    """The bytes that `spelling` stands for."""
    return bytes(map(_BYTE_OF_CHAR.__getitem__, spelling))


def timestamp_names() -> list[str]:
    """The names of the timestamp tokens, "<|0.00|>" to "<|30.00|>"."""
    return [f"<|{i * 0.02:.2f}|>" for i in range(N_TIMESTAMPS)]


def embedded_vocabulary(name: str, special_names: Iterable[str]) -> Vocabulary:
    """The text vocabulary "gpt2" or "multilingual", followed by the special tokens in the order given."""
    tokens, merges = _read_merges(name)
    backend = Backend(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = {name: len(tokens) + i for i, name in enumerate(special_names)}
    return _vocabulary(backend, dict(enumerate(tokens)), special)


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in a Hugging Face tokenizer.json.

    Every added token counts as special. Timestamps, which older files leave out, follow <|notimestamps|>.

    Raises:
        TokenizerError: the file cannot be read, or is no byte-level BPE vocabulary.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        loaded = Backend.from_str(text)
        spellings = {int(token_id): str(token) for token, token_id in document["model"]["vocab"].items()}
        special = {str(token["content"]): int(token["id"]) for token in document["added_tokens"]}
    except Exception as error:  # tokenizers raises bare Exception
        raise TokenizerError(
            f"{path} is not a readable tokenizer.json ({type(error).__name__}: {error}). "
            f"Fetch the file that belongs to the checkpoint again."
        ) from error
    unknown = set("".join(spellings.values())) - _BYTE_OF_CHAR.keys()
    if unknown or not isinstance(loaded.model, models.BPE):
        raise TokenizerError(
            f"{path} holds a {type(loaded.model).__name__} vocabulary that is not byte-level; Whisper's are "
            f"byte-level BPE. Give the tokenizer.json of a Whisper checkpoint."
        )
    backend = Backend(loaded.model)
    backend.normalizer = loaded.normalizer
    backend.pre_tokenizer = loaded.pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    if "<|notimestamps|>" in special:
        after = special["<|notimestamps|>"] + 1
        special = {name: after + i for i, name in enumerate(timestamp_names())} | special
    return _vocabulary(backend, spellings, special)


def write_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Write a tokenizer.json that `read_vocabulary` and Hugging Face's libraries read."""
    document: dict[str, Any] = json.loads(vocabulary.backend.to_str())
    document["added_tokens"] = [
        {
            "id": token_id,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for name, token_id in vocabulary.special.items()
    ]
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _vocabulary(backend: Backend, spellings: dict[int, str], special: dict[str, int]) -> Vocabulary:
    in_order = dict(sorted(special.items(), key=lambda item: item[1]))
    spelled = {token_id: spell(name.encode()) for name, token_id in in_order.items()}
    return Vocabulary(backend, spellings | spelled, in_order)


def _read_merges(name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """All tokens by ascending id, and the pairs that make them: see scripts/make_vocabularies.py."""
    packed = (files("stagewhisper") / "assets" / f"{name}.merges.gz").read_bytes()
    lines = [line.partition(" ") for line in gzip.decompress(packed).decode().split("\n")]
    tokens = [*spell(SINGLE_BYTES), *(left + right for left, _, right in lines)]
    return tokens, [(left, right) for left, _, right in lines if left]
