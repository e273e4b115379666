"""A checkpoint's weights as the JAX engine wants them: matrices as [in, out], and packed for fewer products.

three matrices of queries, keys, values    ─► one [n_state, 3, n_state]: one product instead of three
a decoder layer's cross-attention          ─► its keys and values are computed by the encoder's program
the encoder's layers                       ─► stacked, for `lax.scan`: its program is as short as one layer's
the decoder's layers                       ─► apart: a step reads each weight once, and slicing would copy it
the vocabulary                             ─► filled up with rows of zeros, so that devices can share it
"""

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.jax_placement import Placement
from stagewhisper.engines.parts import Part

Weights = dict[str, Any]
"""Arrays by name, in dictionaries and lists."""

VOCAB_MULTIPLE = 128
"""The vocabulary's rows are filled up to a multiple of this, which suits matrix units; the tokens are masked."""


@runtime_checkable
class NamedWeights(Protocol):
    """What weights are taken from: a Checkpoint, or made-up numbers for a measurement."""

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        ...

    def weight(self, name: str) -> np.ndarray:
        """A weight by openai/whisper's name, float32 in torch's layout."""
        ...


def padded_vocab(dims: ModelDims, placement: Placement) -> int:
    """Rows of the embedding on the devices."""
    multiple = math.lcm(VOCAB_MULTIPLE, placement.n_model)
    return -(-dims.n_vocab // multiple) * multiple


def load_weights(source: NamedWeights, dtype: jnp.dtype, placement: Placement, *, part: Part = "whole") -> Weights:
    """The weights on the devices, in `dtype`; those of layer norms stay float32, as the norms are computed in it.

    By the programs that read them: "encoder", "cross" and "decoder", of which a part has one or two.
    """
    loader = _Loader(source, dtype, placement)
    loads = {"encoder": loader.encoder, "cross": loader.cross, "decoder": loader.decoder}
    wanted = {"whole": tuple(loads), "encoder": ("encoder",), "decoder": ("cross", "decoder")}[part]
    return {name: loads[name]() for name in wanted}


class _Loader:
    """Reads one layer after the other; of the whole model, the host holds the encoder's layers at most."""

    def __init__(self, source: NamedWeights, dtype: jnp.dtype, placement: Placement) -> None:
        self._source = source
        self._dtype = dtype
        self._placement = placement

    def encoder(self) -> Weights:
        n_layer = self._source.dims.n_audio_layer
        return {
            "conv1": self._conv("encoder.conv1"),
            "conv2": self._conv("encoder.conv2"),
            "positions": self._put(self._read("encoder.positional_embedding"), "length", "embed"),
            "blocks": self._stacked([self._audio_block(f"encoder.blocks.{layer}") for layer in range(n_layer)]),
            "ln_post": self._placed(self._norm("encoder.ln_post")),
        }

    def cross(self) -> list[Weights]:
        names = [f"decoder.blocks.{layer}.cross_attn" for layer in range(self._source.dims.n_text_layer)]
        return [self._placed(self._packed(name, ("key", "value"))) for name in names]

    def decoder(self) -> Weights:
        names = [f"decoder.blocks.{layer}" for layer in range(self._source.dims.n_text_layer)]
        return {
            "embedding": self._embedding(),
            "positions": self._put(self._read("decoder.positional_embedding"), "length", "embed"),
            "blocks": [self._placed(self._text_block(name)) for name in names],
            "ln": self._placed(self._norm("decoder.ln")),
        }

    def _audio_block(self, name: str) -> Weights:
        return {
            "attn_ln": self._norm(f"{name}.attn_ln"),
            "attn_qkv": self._packed(f"{name}.attn", ("query", "key", "value")),
            "attn_out": self._linear(f"{name}.attn.out", "heads", "embed"),
            "mlp_ln": self._norm(f"{name}.mlp_ln"),
            "mlp_in": self._linear(f"{name}.mlp.0", "embed", "mlp"),
            "mlp_out": self._linear(f"{name}.mlp.2", "mlp", "embed"),
        }

    def _text_block(self, name: str) -> Weights:
        return {
            **self._audio_block(name),
            "cross_ln": self._norm(f"{name}.cross_attn_ln"),
            "cross_query": self._linear(f"{name}.cross_attn.query", "embed", "heads"),
            "cross_out": self._linear(f"{name}.cross_attn.out", "heads", "embed"),
        }

    def _embedding(self) -> jax.Array:
        rows = padded_vocab(self._source.dims, self._placement) - self._source.dims.n_vocab
        embedding = np.pad(self._read("decoder.token_embedding.weight"), ((0, rows), (0, 0)))
        return self._put(embedding, "vocab", "embed")

    def _conv(self, name: str) -> Weights:
        """[out, in, 3] → [3 · in, out], for one product with three frames side by side."""
        kernel = self._read(f"{name}.weight").transpose(2, 1, 0)
        weight = _Placed(kernel.reshape(-1, kernel.shape[2]), ("channels", "embed"))
        return self._placed({"weight": weight, "bias": self._bias(name, "embed")})

    def _linear(self, name: str, n_in: str, n_out: str) -> Weights:
        return {"weight": _Placed(self._read(f"{name}.weight").T, (n_in, n_out)), "bias": self._bias(name, n_out)}

    def _packed(self, name: str, parts: tuple[str, ...]) -> Weights:
        """Several projections of the same input: weight [n_state, n_parts, n_state], bias [n_parts, n_state]."""
        weight = np.stack([self._read(f"{name}.{part}.weight").T for part in parts], axis=1)
        biases = [np.zeros_like(weight[0, 0]) if part == "key" else self._read(f"{name}.{part}.bias") for part in parts]
        return {
            "weight": _Placed(weight, ("embed", "parts", "heads")),
            "bias": _Placed(np.stack(biases), ("parts", "heads")),
        }

    def _norm(self, name: str) -> Weights:
        return {
            part: _Placed(np.asarray(self._source.weight(f"{name}.{part}")), ("embed",)) for part in ("weight", "bias")
        }

    def _bias(self, name: str, axis: str) -> "_Placed":
        return _Placed(self._read(f"{name}.bias"), (axis,))

    def _read(self, name: str) -> np.ndarray:
        return np.asarray(self._source.weight(name)).astype(self._dtype)

    def _put(self, array: np.ndarray, *axes: str) -> jax.Array:
        return self._placement.put(array, *axes)

    def _placed(self, block: Weights) -> Weights:
        put: Weights = jax.tree.map(lambda one: self._put(one.array, *one.axes), block)
        return put

    def _stacked(self, blocks: list[Weights]) -> Weights:
        stacked: Weights = jax.tree.map(
            lambda *layers: self._put(np.stack([one.array for one in layers]), "layers", *layers[0].axes), *blocks
        )
        return stacked


class _Placed:
    """An array with the kinds of its axes; no tuple, so that trees end here."""

    def __init__(self, array: np.ndarray, axes: tuple[str, ...]) -> None:
        self.array = array
        self.axes = axes
