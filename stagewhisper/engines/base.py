"""What an engine is: the model's arithmetic on some framework, with nothing of decoding in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from stagewhisper.arrays import MelBatch, PositionLogits, Tokens
from stagewhisper.checkpoint import ModelDims

FeaturesT = TypeVar("FeaturesT")
CacheT = TypeVar("CacheT")


@dataclass(frozen=True)
class DecoderOutput(Generic[CacheT]):
    """What a decoder call returns."""

    logits: PositionLogits
    """Logits at the positions that were asked for."""
    cache: CacheT
    """The keys and values of all tokens so far; takes the place of the cache that was passed in."""


@runtime_checkable
class Engine(Protocol[FeaturesT, CacheT]):
    """Whisper's encoder and decoder as four functions.

    `FeaturesT` and `CacheT` are the engine's own types; callers only hand them on. They stay on the device.
    A cache is consumed by the call it is given to: go on with the one that comes back. Sequences that belong to one
    window stand side by side, and there are equally many for each. All methods may be called from several threads.
    """

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        ...

    def encode(self, mel: MelBatch) -> FeaturesT:
        """Audio features of windows of 2 · n_audio_ctx frames, with every layer's cross-attention keys and values."""
        ...

    def start(self, features: FeaturesT) -> CacheT:
        """An empty cache with one sequence for each window."""
        ...

    def decode_step(
        self, tokens: Tokens, cache: CacheT, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[CacheT]:
        """Logits after `tokens`, which follow what is in the cache: a whole prompt, or one token for each sequence.

        `logit_positions` are indices into the new tokens, negative ones from the end; computing logits of a position
        is the dearest part of a small model, so nobody gets those of a whole prompt unasked.
        """
        ...

    def reorder(self, cache: CacheT, source_indices: Sequence[int]) -> CacheT:
        """A cache whose sequence i continues sequence `source_indices[i]`: beams that survive, or one prompt for many.

        The number of sequences may change; each must stay within its own window's group.
        """
        ...


AnyEngine = Engine[Any, Any]
"""An engine whose features and caches are handed on unseen, as decoding does."""

Source = Literal["checkpoint", "bundle"]


class EngineFactory(Protocol):
    """What makes an engine: usually its class.

    One that computes a checkpoint in several precisions names them in `precisions`, and takes `precision` beside the
    other arguments; None leaves the choice to it. One that compiles while it runs says so by `keeps_programs`, and
    takes `cache_dir`, a folder where later processes find what was compiled. One that can hold one side of the model
    alone says so by `has_parts`, and takes `part`.
    """

    reads: Source
    """What it is made from: a Checkpoint, or a Bundle that the compiler made of one."""

    def __call__(self, source: Any, /, *, device: str | None, threads: int | None) -> AnyEngine:
        """The engine, on `device`, with so many threads; None leaves the choice to it."""
        ...
