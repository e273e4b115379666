"""One side of a model alone: what an engine offers whose encoder and decoder may lie apart.

    mel ─► audio_features ─► float32 [n_audio, n_audio_ctx, n_state], on the host ─► project ─► the decoder's features
           part "encoder"                                                         part "decoder"

The array between them is the same for all engines. Keys and values of cross-attention are made of it on the decoder's
side, for each engine keeps them in a form of its own, and of more bytes.
"""

from typing import Literal, Protocol, runtime_checkable

from stagewhisper.arrays import AudioFeatures, MelBatch
from stagewhisper.engines.base import CacheT, Engine, FeaturesT
from stagewhisper.errors import EngineError

Part = Literal["whole", "encoder", "decoder"]
"""What of a model an engine holds: the encoder ends with the audio features, where the decoder begins."""


@runtime_checkable
class SplitEngine(Engine[FeaturesT, CacheT], Protocol[FeaturesT, CacheT]):
    """An engine whose `encode` can be done in two halves, each perhaps somewhere else."""

    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for windows of 2 · n_audio_ctx frames."""
        ...

    def project(self, audio: AudioFeatures) -> FeaturesT:
        """What `encode` returns, from the encoder's output of any engine."""
        ...


def check_part(engine: str, part: Part, *, needed: Literal["encoder", "decoder"]) -> None:
    """Nothing, if an engine that holds this part can do what the other one needs.

    Raises:
        EngineError: it cannot.
    """
    if part not in ("whole", needed):
        raise EngineError(
            f"This engine {engine!r} holds the model's {part} only, and was asked for what its {needed} does. "
            f"Leave 'part' out to load both."
        )


def holds(part: Part, weight_name: str) -> bool:
    """Whether a part computes with the weight of openai/whisper's name."""
    return part == "whole" or weight_name.startswith(f"{part}.")
