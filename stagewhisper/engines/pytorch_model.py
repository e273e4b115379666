"""Whisper's encoder and decoder as functions of packed weights, with as few operators a step as possible.

Rows of all windows and positions are one axis wherever rows do not meet: [n_audio · n_audio_ctx, n_state].

Source: Radford et al. 2022, section 2.2; openai/whisper, `model.py`.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, pad, scaled_dot_product_attention

from stagewhisper.checkpoint import LAYER_NORM_EPSILON, ModelDims
from stagewhisper.engines.pytorch_weights import Block, CrossAttention, LayerNorm, Linear, Weights

KeysAndValues = tuple[Tensor, Tensor]
"""Of one layer, each [n, n_head, n_positions, head_dim]."""

_WIDTH = 3  # frames under a convolution's kernel


@runtime_checkable
class Span(Protocol):
    """The part of a cache that one decoder call writes and sees."""

    mask: Tensor | None
    """What is added to the scores, "1 1 n_new n_keys"; None where every new token sees every key."""
    is_causal: bool
    """Instead of a mask: the keys are the new tokens' own, and each sees those up to itself."""

    def positions(self, table: Tensor) -> Tensor:
        """The rows of the table of positions that belong to the new tokens."""
        ...

    def write(self, layer: int, keys_and_values: Tensor) -> None:
        """Put in what belongs to the new tokens, "2 n_seq n_head n_new head_dim"."""
        ...

    def read(self, layer: int) -> KeysAndValues:
        """What the new tokens see, themselves included."""
        ...


def encode(weights: Weights, mel: Float[Tensor, "n_audio n_mels n_frames"]) -> Float[Tensor, "n_rows n_state"]:
    """Audio features of whole windows, those of one window after those of another."""
    dims = weights.dims
    frames = pad(mel.transpose(1, 2), (0, 0, 1, 1))
    frames = pad(_convolved(frames, weights.conv1, stride=1), (0, 0, 1, 1))
    x = _convolved(frames, weights.conv2, stride=2).add_(weights.audio_positions).flatten(0, 1)
    for block in weights.encoder:
        qkv = linear(_normed(x, block.attn_ln), block.qkv.weight, block.qkv.bias)
        qkv = qkv.view(len(mel), dims.n_audio_ctx, 3, dims.n_audio_head, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        attended = scaled_dot_product_attention(q, k, v)
        _add_linear(x, attended.transpose(1, 2).reshape(x.shape), block.out)
        hidden = linear(_normed(x, block.mlp_ln), block.mlp_in.weight, block.mlp_in.bias)
        _add_linear(x, torch.ops.aten.gelu_(hidden), block.mlp_out)
    return _normed(x, weights.ln_post)


def cross_keys_and_values(
    weights: Weights, audio: Float[Tensor, "n_rows n_state"], *, n_audio: int
) -> tuple[KeysAndValues, ...]:
    """What every layer of the decoder attends to, in the order in which attention reads it."""
    layers = []
    for _, cross in weights.decoder:
        both = linear(audio, cross.key_value.weight, cross.key_value.bias)
        both = both.view(n_audio, len(audio) // n_audio, 2, weights.dims.n_text_head, -1)
        k, v = both.permute(2, 0, 3, 1, 4).contiguous().unbind()
        layers.append((k, v))
    return tuple(layers)


def decode(
    weights: Weights, tokens: Int64[Tensor, "n_seq n_new"], span: Span, cross: tuple[KeysAndValues, ...]
) -> Float[Tensor, "n_seq n_new n_state"]:
    """Hidden states of new tokens before the last layer norm; their keys and values are written to `span`."""
    n_seq, n_new = tokens.shape
    x = (embedding(tokens, weights.embedding) + span.positions(weights.text_positions)).flatten(0, 1)
    for layer, (block, cross_attention) in enumerate(weights.decoder):
        x = _self_attention(x, block, span, layer=layer, n_seq=n_seq, dims=weights.dims)
        x = _cross_attention(x, cross_attention, cross[layer])
        hidden = gelu(linear(_normed(x, block.mlp_ln), block.mlp_in.weight, block.mlp_in.bias))
        x = x + linear(hidden, block.mlp_out.weight, block.mlp_out.bias)
    return x.view(n_seq, n_new, -1)


def logits(weights: Weights, hidden: Float[Tensor, "n_rows n_state"]) -> Float[Tensor, "n_rows n_vocab"]:
    """Logits of hidden states, in the weights' own type."""
    return linear(_normed(hidden, weights.ln), weights.embedding)[:, : weights.dims.n_vocab]


def _self_attention(x: Tensor, block: Block, span: Span, *, layer: int, n_seq: int, dims: ModelDims) -> Tensor:
    qkv = linear(_normed(x, block.attn_ln), block.qkv.weight, block.qkv.bias)
    qkv = qkv.view(n_seq, len(x) // n_seq, 3, dims.n_text_head, -1).permute(2, 0, 3, 1, 4)
    span.write(layer, qkv[1:])
    k, v = span.read(layer)
    attended = scaled_dot_product_attention(qkv[0], k, v, attn_mask=span.mask, is_causal=span.is_causal)
    return x + linear(attended.transpose(1, 2).reshape(x.shape), block.out.weight, block.out.bias)


def _cross_attention(x: Tensor, attention: CrossAttention, keys_and_values: KeysAndValues) -> Tensor:
    """All sequences and positions of a window ask together, so that its keys and values are read once."""
    k, v = keys_and_values
    q = linear(_normed(x, attention.ln), attention.query.weight, attention.query.bias)
    q = q.view(len(k), len(x) // len(k), k.shape[1], -1).transpose(1, 2)
    attended = scaled_dot_product_attention(q, k, v)
    return x + linear(attended.transpose(1, 2).reshape(x.shape), attention.out.weight, attention.out.bias)


def _convolved(frames: Tensor, weight: Linear, *, stride: int) -> Tensor:
    """GELU of a convolution: [n_audio, n + 2, in] → [n_audio, n / stride, out]; neighbours lie side by side."""
    n_audio, n_padded, n_in = frames.shape
    n_out = (n_padded - _WIDTH) // stride + 1
    taps = frames.as_strided((n_audio, n_out, _WIDTH * n_in), (n_padded * n_in, stride * n_in, 1))
    convolved = linear(taps.reshape(n_audio * n_out, -1), weight.weight, weight.bias)
    return torch.ops.aten.gelu_(convolved).view(n_audio, n_out, -1)  # type: ignore[no-any-return]


def _normed(x: Tensor, norm: LayerNorm) -> Tensor:
    return layer_norm(x, norm.weight.shape, norm.weight, norm.bias, LAYER_NORM_EPSILON)


def _add_linear(x: Tensor, inputs: Tensor, weight: Linear) -> None:
    """x += inputs · weightᵀ + bias, where x lies: the product adds up in x itself."""
    x.add_(weight.bias).addmm_(inputs, weight.weight.t())
