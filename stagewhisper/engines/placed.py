"""One model on two engines, or on two devices of one: the encoder here, the decoder there.

mel ─► encoder ─► audio features, float32 on the host ─► decoder: keys and values, then token by token
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from stagewhisper.arrays import MelBatch, Tokens
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import CacheT, DecoderOutput, FeaturesT
from stagewhisper.engines.generation import Generates
from stagewhisper.engines.parts import SplitEngine
from stagewhisper.errors import EngineError


@dataclass(frozen=True)
class EngineChoice:
    """What runs one side of a model, in the user's words."""

    engine: str
    device: str | None
    """None leaves it to the engine."""
    precision: str | None
    """None leaves it to the engine."""

    def for_encoder(self, engine: str | None, *, device: str | None, precision: str | None) -> "EngineChoice":
        """What runs the encoder, where this runs the decoder.

        None is the decoder's choice; on an engine other than the decoder's, device and precision are that engine's own.
        """
        if engine not in (None, self.engine):
            return EngineChoice(engine, device, precision)
        return EngineChoice(self.engine, device or self.device, precision or self.precision)


class PlacedEngine(Generic[FeaturesT, CacheT]):
    """An encoder and a decoder of the same model, as one engine.

    Features and caches are the decoder's. If it decodes whole windows by itself, so does this engine: then it has the
    method `generate`.
    """

    def __init__(self, *, encoder: SplitEngine[Any, Any], decoder: SplitEngine[FeaturesT, CacheT]) -> None:
        """Of both, one side of the model is enough.

        Raises:
            EngineError: their models differ in shape.
        """
        _check_dims(encoder.dims, decoder.dims)
        self._encoder, self._decoder = encoder, decoder
        if isinstance(decoder, Generates):
            self.generate = decoder.generate

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._decoder.dims

    def encode(self, mel: MelBatch) -> FeaturesT:
        """The decoder's features of whole windows, from the encoder's output."""
        return self._decoder.project(self._encoder.audio_features(mel))

    def start(self, features: FeaturesT) -> CacheT:
        """An empty cache with one sequence for each window."""
        return self._decoder.start(features)

    def decode_step(
        self, tokens: Tokens, cache: CacheT, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[CacheT]:
        """Logits after `tokens`, which follow what is in the cache."""
        return self._decoder.decode_step(tokens, cache, logit_positions=logit_positions)

    def reorder(self, cache: CacheT, source_indices: Sequence[int]) -> CacheT:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        return self._decoder.reorder(cache, source_indices)


def _check_dims(encoder: ModelDims, decoder: ModelDims) -> None:
    others = decoder.to_dict()
    different = [f"{name} {n} and {others[name]}" for name, n in encoder.to_dict().items() if n != others[name]]
    if different:
        raise EngineError(
            f"The encoder's model and the decoder's are not the same: they have {', '.join(different)}. "
            "Give both engines one model."
        )
