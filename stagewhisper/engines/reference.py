"""Whisper in plain NumPy, float32: slow, short, and the definition of correct for all other engines.

Source: Radford et al. 2022, section 2.2; openai/whisper, `model.py`.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from stagewhisper.arrays import AudioFeatures, MelBatch, Tokens
from stagewhisper.checkpoint import LAYER_NORM_EPSILON, Checkpoint, ModelDims
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.engines.parts import Part, check_part, holds

logger = logging.getLogger(__name__)

Array = Float32[np.ndarray, "..."]
KeysAndValues = tuple[Array, Array]


@dataclass(frozen=True)
class Features:
    """What the decoder needs of some windows."""

    audio: Array
    """[n_audio, n_audio_ctx, n_audio_state]"""
    cross: tuple[KeysAndValues, ...]
    """Keys and values of every layer's cross-attention, [n_audio, n_head, n_audio_ctx, head_dim]."""


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, and those of the audio."""

    past: tuple[KeysAndValues, ...]
    """For every layer, [n_seq, n_head, n_past, head_dim]."""
    cross: tuple[KeysAndValues, ...]


class ReferenceEngine:
    """Runs a checkpoint in NumPy on the CPU."""

    reads: ClassVar[Source] = "checkpoint"
    has_parts: ClassVar[bool] = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        threads: int | None = None,
        part: Part = "whole",
    ) -> None:
        """`threads` cannot be set from here, which a warning in the log tells: NumPy's linear algebra chooses.

        Raises:
            EngineError: the device is not the CPU, or the number of threads is negative.
        """
        if cpu_threads("reference", device=device, threads=threads):
            logger.warning(
                "The engine 'reference' cannot be held to %d threads: NumPy's linear algebra was told how many to use "
                "when it was started, by OMP_NUM_THREADS or OPENBLAS_NUM_THREADS.",
                threads,
            )
        self._dims = checkpoint.dims
        self._part = part
        self._weights = {name: checkpoint.weight(name) for name in checkpoint.weight_names if holds(part, name)}

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._dims

    def encode(self, mel: MelBatch) -> Features:
        """Audio features of whole windows."""
        return self.project(self.audio_features(mel))

    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for whole windows."""
        check_part("reference", self._part, needed="encoder")
        x = gelu(self._conv(mel, "encoder.conv1", stride=1))
        x = gelu(self._conv(x, "encoder.conv2", stride=2))
        x = x.transpose(0, 2, 1) + self._weights["encoder.positional_embedding"]
        for layer in range(self._dims.n_audio_layer):
            name = f"encoder.blocks.{layer}"
            normed = self._layer_norm(x, f"{name}.attn_ln")
            keys_and_values = self._keys_and_values(normed, f"{name}.attn", n_head=self._dims.n_audio_head)
            x = x + self._attention(normed, f"{name}.attn", keys_and_values)
            x = x + self._mlp(x, name)
        return self._layer_norm(x, "encoder.ln_post")

    def project(self, audio: AudioFeatures) -> Features:
        """What the decoder needs, from the encoder's output."""
        check_part("reference", self._part, needed="decoder")
        cross = tuple(
            self._keys_and_values(audio, f"decoder.blocks.{layer}.cross_attn", n_head=self._dims.n_text_head)
            for layer in range(self._dims.n_text_layer)
        )
        return Features(audio, cross)

    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        n_head = self._dims.n_text_head
        empty = np.zeros((len(features.audio), n_head, 0, self._dims.n_text_state // n_head), np.float32)
        return Cache(((empty, empty),) * self._dims.n_text_layer, features.cross)

    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[Cache]:
        """Logits after `tokens`, which follow what is in the cache."""
        n_past, n_new = cache.past[0][0].shape[2], tokens.shape[1]
        visible = np.arange(n_past + n_new) <= np.arange(n_past, n_past + n_new)[:, None]
        mask = np.where(visible, np.float32(0), np.float32(-np.inf))
        n_group = len(tokens) // len(cache.cross[0][0])

        embedding = self._weights["decoder.token_embedding.weight"]
        x = embedding[tokens] + self._weights["decoder.positional_embedding"][n_past : n_past + n_new]
        past = []
        for layer in range(self._dims.n_text_layer):
            name = f"decoder.blocks.{layer}"
            normed = self._layer_norm(x, f"{name}.attn_ln")
            new = self._keys_and_values(normed, f"{name}.attn", n_head=self._dims.n_text_head)
            k, v = (np.concatenate(pair, axis=2) for pair in zip(cache.past[layer], new, strict=True))
            past.append((k, v))
            x = x + self._attention(normed, f"{name}.attn", (k, v), mask=mask)
            cross_k, cross_v = (np.repeat(array, n_group, axis=0) for array in cache.cross[layer])
            normed = self._layer_norm(x, f"{name}.cross_attn_ln")
            x = x + self._attention(normed, f"{name}.cross_attn", (cross_k, cross_v))
            x = x + self._mlp(x, name)
        logits = self._layer_norm(x[:, list(logit_positions)], "decoder.ln") @ embedding.T
        return DecoderOutput(logits, replace(cache, past=tuple(past)))

    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        rows = list(source_indices)
        return replace(cache, past=tuple((k[rows], v[rows]) for k, v in cache.past))

    def _linear(self, x: Array, name: str) -> Array:
        product: Array = x @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")  # keys have none: softmax would not see it
        return product if bias is None else product + bias

    def _conv(self, x: Array, name: str, *, stride: int) -> Array:
        """Convolution over frames with a kernel of three: [n_audio, in, n] → [n_audio, out, n / stride]."""
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
        n_out = x.shape[2] // stride
        taps = (weight[:, :, tap] @ padded[:, :, tap : tap + n_out * stride : stride] for tap in range(3))
        convolved: Array = sum(taps, start=bias[:, None])
        return convolved

    def _layer_norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normed = centred / np.sqrt(variance + np.float32(LAYER_NORM_EPSILON))
        scaled: Array = normed * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return scaled

    def _keys_and_values(self, x: Array, name: str, *, n_head: int) -> KeysAndValues:
        k, v = self._linear(x, f"{name}.key"), self._linear(x, f"{name}.value")
        return split_heads(k, n_head), split_heads(v, n_head)

    def _attention(self, x: Array, name: str, keys_and_values: KeysAndValues, *, mask: Array | None = None) -> Array:
        k, v = keys_and_values
        q = split_heads(self._linear(x, f"{name}.query"), k.shape[1])
        scores = (q * np.float32(q.shape[-1] ** -0.5)) @ k.transpose(0, 1, 3, 2)
        attended = softmax(scores if mask is None else scores + mask) @ v
        n_seq, n_head, n_new, head_dim = attended.shape
        return self._linear(attended.transpose(0, 2, 1, 3).reshape(n_seq, n_new, n_head * head_dim), f"{name}.out")

    def _mlp(self, x: Array, name: str) -> Array:
        return self._linear(gelu(self._linear(self._layer_norm(x, f"{name}.mlp_ln"), f"{name}.mlp.0")), f"{name}.mlp.2")


def split_heads(x: Array, n_head: int) -> Array:
    """[batch, n, state] → [batch, n_head, n, head_dim]."""
    batch, n, state = x.shape
    return x.reshape(batch, n, n_head, state // n_head).transpose(0, 2, 1, 3)


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    share: Array = exp / exp.sum(axis=-1, keepdims=True)
    return share


def gelu(x: Array) -> Array:
    """x · Φ(x), with the exact normal distribution function and not its tanh approximation."""
    return x * np.float32(0.5) * (1 + np.asarray(_erf(x / np.float32(math.sqrt(2))), np.float32))


_erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has none of its own
