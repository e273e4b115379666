"""A checkpoint's weights on a device, packed for few and large products.

before   query, key, value        three products, [n_state, n_state] each
after    qkv                      one, [3·n_state, n_state]; keys have a bias of zeros

before   convolution              [out, in, 3] over frames
after    a product                [out, 3·in] with three frames side by side
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.parts import Part

_PADDED_TO = 64  # rows of the vocabulary, so that its product runs on tensor cores with aligned loads


@dataclass(frozen=True)
class Linear:
    """x ↦ x · weightᵀ + bias."""

    weight: Tensor
    """[out, in]"""
    bias: Tensor


@dataclass(frozen=True)
class LayerNorm:
    """Scale and shift after normalisation."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Block:
    """What a layer of the encoder has, and one of the decoder too."""

    attn_ln: LayerNorm
    qkv: Linear
    out: Linear
    mlp_ln: LayerNorm
    mlp_in: Linear
    mlp_out: Linear


@dataclass(frozen=True)
class CrossAttention:
    """What a layer of the decoder has besides."""

    ln: LayerNorm
    query: Linear
    key_value: Linear
    """Applied to the audio, once for each window."""
    out: Linear


@dataclass(frozen=True)
class Weights:
    """The model on one device in one type; of a part, the other side has no layers, and the encoder no vocabulary."""

    dims: ModelDims
    conv1: Linear
    conv2: Linear
    audio_positions: Tensor
    encoder: tuple[Block, ...]
    ln_post: LayerNorm
    embedding: Tensor
    """[n_vocab and some rows of zeros, n_text_state]"""
    text_positions: Tensor
    decoder: tuple[tuple[Block, CrossAttention], ...]
    ln: LayerNorm

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """What they are computed with."""
        return self.embedding.dtype


Read = Callable[[str], Tensor]
"""openai/whisper's name of a weight → its values on the device."""


@runtime_checkable
class NamedWeights(Protocol):
    """A checkpoint, or what gives a model's weights as it does."""

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        ...

    def weight(self, name: str) -> Float32[np.ndarray, "..."]:
        """The weight of openai/whisper's name in torch's layout."""
        ...


def checkpoint_weights(
    checkpoint: NamedWeights, *, device: torch.device, dtype: torch.dtype, part: Part = "whole"
) -> Weights:
    """The weights of a checkpoint, or what one side of it needs of them."""
    return pack_weights(
        checkpoint.dims,
        # A copy: torch wants memory that may be written to, and the checkpoint's may not.
        lambda name: torch.from_numpy(np.array(checkpoint.weight(name))).to(device=device, dtype=dtype),
        part=part,
    )


def pack_weights(dims: ModelDims, read: Read, *, part: Part = "whole") -> Weights:
    """The weights that `read` gives by openai/whisper's names, packed."""
    encoder = (f"encoder.blocks.{layer}" for layer in range(0 if part == "decoder" else dims.n_audio_layer))
    decoder = (f"decoder.blocks.{layer}" for layer in range(0 if part == "encoder" else dims.n_text_layer))
    text_positions = read("decoder.positional_embedding")
    return Weights(
        dims=dims,
        conv1=_conv(read, "encoder.conv1"),
        conv2=_conv(read, "encoder.conv2"),
        audio_positions=read("encoder.positional_embedding"),
        encoder=tuple(_block(read, name) for name in encoder),
        ln_post=_layer_norm(read, "encoder.ln_post"),
        embedding=text_positions[:0] if part == "encoder" else _padded(read("decoder.token_embedding.weight")),
        text_positions=text_positions,
        decoder=tuple((_block(read, name), _cross_attention(read, name)) for name in decoder),
        ln=_layer_norm(read, "decoder.ln"),
    )


def _block(read: Read, name: str) -> Block:
    return Block(
        attn_ln=_layer_norm(read, f"{name}.attn_ln"),
        qkv=_joined(read, f"{name}.attn", ("query", "key", "value")),
        out=_linear(read, f"{name}.attn.out"),
        mlp_ln=_layer_norm(read, f"{name}.mlp_ln"),
        mlp_in=_linear(read, f"{name}.mlp.0"),
        mlp_out=_linear(read, f"{name}.mlp.2"),
    )


def _cross_attention(read: Read, name: str) -> CrossAttention:
    return CrossAttention(
        ln=_layer_norm(read, f"{name}.cross_attn_ln"),
        query=_linear(read, f"{name}.cross_attn.query"),
        key_value=_joined(read, f"{name}.cross_attn", ("key", "value")),
        out=_linear(read, f"{name}.cross_attn.out"),
    )


def _joined(read: Read, name: str, parts: tuple[str, ...]) -> Linear:
    weights = [read(f"{name}.{part}.weight") for part in parts]
    biases = [
        weight.new_zeros(len(weight)) if part == "key" else read(f"{name}.{part}.bias")
        for part, weight in zip(parts, weights, strict=True)
    ]
    return Linear(torch.cat(weights), torch.cat(biases))


def _conv(read: Read, name: str) -> Linear:
    """[out, in, 3] → [out, 3·in], frame by frame."""
    weight = read(f"{name}.weight")
    return Linear(weight.permute(0, 2, 1).reshape(len(weight), -1).contiguous(), read(f"{name}.bias"))


def _linear(read: Read, name: str) -> Linear:
    return Linear(read(f"{name}.weight"), read(f"{name}.bias"))


def _layer_norm(read: Read, name: str) -> LayerNorm:
    return LayerNorm(read(f"{name}.weight"), read(f"{name}.bias"))


def _padded(embedding: Tensor) -> Tensor:
    missing = -len(embedding) % _PADDED_TO
    return torch.nn.functional.pad(embedding, (0, 0, 0, missing))
