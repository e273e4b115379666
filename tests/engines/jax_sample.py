"""A tiny checkpoint and ways to decode with it, for the tests of the JAX engine; none depends on pytest."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stagewhisper.checkpoint import ModelDims
from stagewhisper.checkpoint.weight_names import weight_shapes
from stagewhisper.decoding import DecodingOptions, DecodingResult, decode
from stagewhisper.engines import AnyEngine
from stagewhisper.tokenizer import load_tokenizer

DIMS = ModelDims(
    n_mels=80,
    n_audio_ctx=50,
    n_audio_state=64,
    n_audio_head=4,
    n_audio_layer=2,
    n_vocab=51_865,
    n_text_ctx=80,
    n_text_state=64,
    n_text_head=4,
    n_text_layer=2,
)
"""A short text context, so that decoding to its end takes few steps."""


@dataclass(frozen=True)
class MadeUp:
    """Normal weights, scaled so that activations and logits stay near unit size."""

    dims: ModelDims = DIMS
    seed: int = 0

    @property
    def weight_names(self) -> tuple[str, ...]:
        return tuple(weight_shapes(self.dims))

    def weight(self, name: str) -> np.ndarray:
        shape = weight_shapes(self.dims)[name]
        noise = np.random.default_rng([self.seed, *name.encode()]).standard_normal(shape).astype(np.float32)
        if name.endswith(("ln.weight", "ln_post.weight")):
            return 1 + np.float32(0.1) * noise
        if name.endswith((".bias", "positional_embedding")):
            return np.float32(0.1) * noise
        if name == "decoder.token_embedding.weight":
            return noise * np.float32(2 / shape[1] ** 0.5)
        return noise * np.float32(noise[0].size ** -0.5)


class StepByStep:
    """An engine without its `generate`: decoding then takes every token on the host."""

    def __init__(self, engine: AnyEngine) -> None:
        self.dims = engine.dims
        self.encode, self.start = engine.encode, engine.start
        self.decode_step, self.reorder = engine.decode_step, engine.reorder


def mel(n_audio: int, dims: ModelDims = DIMS, seed: int = 0) -> np.ndarray:
    """Made-up windows."""
    shape = (n_audio, dims.n_mels, 2 * dims.n_audio_ctx)
    return (0.5 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def decoded(engine: AnyEngine, n_audio: int = 2, **options: Any) -> list[DecodingResult]:
    """What the engine makes of some windows."""
    options = {"language": "en", **options}
    features = engine.encode(mel(n_audio, engine.dims))
    return decode(
        engine, features, tokenizer=tokenizer(engine.dims), options=DecodingOptions(**options), n_audio=n_audio
    )


tokenizer = cache(lambda dims: load_tokenizer(dims.n_vocab, None))
"""The vocabulary of a model of this shape."""
