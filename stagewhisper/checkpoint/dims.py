"""The ten numbers that give a Whisper model its shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.errors import CheckpointError

LAYER_NORM_EPSILON = 1e-5
"""The same in every Whisper: torch.nn.LayerNorm's default, which openai/whisper was trained with."""

# Far above any Whisper (large-v3: 128, 1500, 1280, 20, 32, 51866, 448), far below what exhausts memory.
_LARGEST = {
    "n_mels": 1024,
    "n_audio_ctx": 65_536,
    "n_audio_state": 16_384,
    "n_audio_head": 256,
    "n_audio_layer": 256,
    "n_vocab": 1_048_576,
    "n_text_ctx": 65_536,
    "n_text_state": 16_384,
    "n_text_head": 256,
    "n_text_layer": 256,
}

_FIRST_MULTILINGUAL_N_VOCAB = 51_865  # openai/whisper, Whisper.is_multilingual; English-only models have 51,864


@dataclass(frozen=True)
class ModelDims:
    """Shape of a model, in openai/whisper's names (`ModelDimensions` of model.py).

    `n_vocab` may exceed the known vocabularies, as fine-tunes add tokens.

    Raises:
        CheckpointError: a number is not positive, is absurdly large, or does not fit the others.
    """

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if not 1 <= value <= largest:
                raise CheckpointError(f"{name} is {quoted(value)}; expected a whole number from 1 to {largest}.")
        _check_heads("audio", self.n_audio_state, self.n_audio_head)
        _check_heads("text", self.n_text_state, self.n_text_head)
        if self.n_audio_state != self.n_text_state:
            raise CheckpointError(
                f"n_audio_state is {self.n_audio_state} and n_text_state {self.n_text_state}; "
                "expected them equal, because cross-attention reads the audio features as they are."
            )
        if self.n_audio_state < 4 or self.n_audio_state % 2:
            raise CheckpointError(
                f"n_audio_state is {self.n_audio_state}; expected an even number of at least 4, "
                "for half of the audio positions are sines and half cosines."
            )

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary has language and task tokens; English-only models lack them."""
        return self.n_vocab >= _FIRST_MULTILINGUAL_N_VOCAB

    def to_dict(self) -> dict[str, int]:
        """The numbers by name, in the order of the fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: Mapping[str, object]) -> "ModelDims":
        """The dims that `to_dict` or an OpenAI checkpoint's "dims" wrote.

        Raises:
            CheckpointError: a number is missing, unknown, not an integer, or impossible.
        """
        names = [field.name for field in fields(cls)]
        for name in numbers:
            if name not in names:
                raise CheckpointError(f"The dims hold {quoted(name)}; expected only {', '.join(names)}.")
        return cls(**{name: _whole_number(numbers, name) for name in names})


def _check_heads(part: str, n_state: int, n_head: int) -> None:
    if n_state % n_head:
        raise CheckpointError(
            f"n_{part}_state is {n_state} and n_{part}_head {n_head}; expected the heads to divide the state."
        )


def _whole_number(numbers: Mapping[str, object], name: str) -> int:
    if name not in numbers:
        raise CheckpointError(f"The dims lack {name}.")
    value = numbers[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"{name} is {quoted(value)}; expected a whole number.")
    return value
