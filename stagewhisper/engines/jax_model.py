"""Whisper's arithmetic as pure functions of weights and arrays, for `jax.jit`.

All shapes are fixed: the text context's keys and values lie in buffers of n_text_ctx positions, of which a mask hides
those that are not written yet. Products are in the engine's precision; layer norms, softmax and logits in float32.

Source: Radford et al. 2022, section 2.2; openai/whisper, `model.py`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

from stagewhisper.checkpoint import LAYER_NORM_EPSILON, ModelDims
from stagewhisper.engines.jax_placement import Placement
from stagewhisper.engines.jax_weights import Weights, padded_vocab

KeysAndValues = tuple[tuple[Array, Array], ...]
"""For every layer, keys and values, [batch, n_head, n, head_dim]."""

CACHE_AXES = ("batch", "heads", "length", "head_dim")

_QUERIES_AT_ONCE = 500


@dataclass(frozen=True)
class Arithmetic:
    """What a compiled program is made for."""

    dims: ModelDims
    dtype: Any
    """float32, float16 or bfloat16."""
    placement: Placement
    flash: bool = False
    """Whether the audio's attention is cuDNN's kernel, which never writes the scores to memory."""

    @property
    def precision(self) -> jax.lax.Precision:
        """Float32 means float32: left to itself, JAX multiplies it in fewer bits on GPUs and TPUs."""
        return jax.lax.Precision.HIGHEST if self.dtype == jnp.float32 else jax.lax.Precision.DEFAULT

    @property
    def n_vocab(self) -> int:
        """Length of logits on the device: the vocabulary, and some masked places."""
        return padded_vocab(self.dims, self.placement)


def encode(
    how: Arithmetic, weights: Weights, cross: list[Weights], mel: Float32[Array, "batch n_mels n_frames"]
) -> KeysAndValues:
    """Keys and values of every decoder layer's cross-attention: all that the decoder needs of the audio."""
    return project(how, cross, audio_features(how, weights, mel))


def audio_features(
    how: Arithmetic, weights: Weights, mel: Float32[Array, "batch n_mels n_frames"]
) -> Float[Array, "batch n n_state"]:
    """The encoder's output."""
    x = how.placement.constrain(mel.astype(how.dtype).transpose(0, 2, 1), "batch", "length", "channels")
    x = gelu(_conv(how, x, weights["conv1"], stride=1))
    x = gelu(_conv(how, x, weights["conv2"], stride=2)) + weights["positions"]

    def layer(x: Array, block: Weights) -> tuple[Array, None]:
        return how.placement.constrain(_audio_block(how, x, block), "batch", "length", "embed"), None

    x, _ = jax.lax.scan(layer, x, weights["blocks"])
    return layer_norm(x, weights["ln_post"])


def project(how: Arithmetic, cross: list[Weights], audio: Float[Array, "batch n n_state"]) -> KeysAndValues:
    """What every decoder layer attends to, from the encoder's output."""
    audio = how.placement.constrain(audio.astype(how.dtype), "batch", "length", "embed")
    return tuple(_cross_keys_and_values(how, audio, layer) for layer in cross)


def empty_cache(how: Arithmetic, n_seq: int) -> KeysAndValues:
    """Buffers for the keys and values of n_text_ctx tokens."""
    nothing = jnp.zeros(cache_shape(how.dims, n_seq), how.dtype)
    return _constrained(how, ((nothing, nothing),) * how.dims.n_text_layer)


def cache_shape(dims: ModelDims, n_seq: int) -> tuple[int, int, int, int]:
    """Shape of a layer's keys, and of its values; the kinds of the axes are CACHE_AXES."""
    return (n_seq, dims.n_text_head, dims.n_text_ctx, dims.n_text_state // dims.n_text_head)


def decode(
    how: Arithmetic,
    weights: Weights,
    cross: KeysAndValues,
    cache: KeysAndValues,
    tokens: Int32[Array, "n_seq n_new"],
    n_past: Int32[Array, ""],
) -> tuple[Float[Array, "n_seq n_new n_state"], KeysAndValues]:
    """What the last layer makes of `tokens`, and the cache with them in it.

    Tokens behind the end of a shorter text do no harm: what comes before does not see them, and the next call writes
    its own over them. Those beyond the text context are dropped.
    """
    dims, n_new = how.dims, tokens.shape[1]
    places = n_past + jnp.arange(n_new, dtype=jnp.int32)
    visible = jnp.arange(dims.n_text_ctx) <= places[:, None]
    positions = jnp.take(weights["positions"], places, axis=0, mode="clip")
    x = jnp.take(weights["embedding"], tokens, axis=0, mode="clip") + positions
    x = how.placement.constrain(x, "batch", "length", "embed")
    written = []
    for block, past, (cross_k, cross_v) in zip(weights["blocks"], cache, cross, strict=True):
        q, *new = _packed(how, layer_norm(x, block["attn_ln"]), block["attn_qkv"], n_head=dims.n_text_head)
        k, v = (_write(buffer, one.transpose(0, 2, 1, 3), places) for buffer, one in zip(past, new, strict=True))
        written.append((k, v))
        x = x + linear(how, _attention(how, q, k, v, visible), block["attn_out"])
        x = x + linear(how, _cross_attention(how, x, block, cross_k, cross_v), block["cross_out"])
        x = how.placement.constrain(x + _mlp(how, x, block), "batch", "length", "embed")
    return x, _constrained(how, tuple(written))


def logits_of(how: Arithmetic, weights: Weights, x: Float[Array, "n_seq n n_state"]) -> Float32[Array, "n_seq n n_pad"]:
    """Logits in float32; those of the places that fill the vocabulary up are -inf."""
    normed = layer_norm(x, weights["ln"])
    logits = jax.lax.dot_general(
        normed,
        weights["embedding"],
        (((2,), (1,)), ((), ())),
        precision=how.precision,
        preferred_element_type=jnp.float32,
    )
    logits = how.placement.constrain(logits, "batch", "length", "vocab")
    return jnp.where(jnp.arange(how.n_vocab) < how.dims.n_vocab, logits, -jnp.inf)


def linear(how: Arithmetic, x: Float[Array, "*batch n_in"], layer: Weights) -> Float[Array, "*batch n_out"]:
    """x · weight + bias."""
    return jnp.matmul(x, layer["weight"], precision=how.precision) + layer["bias"]


def layer_norm(x: Float[Array, "*batch n_state"], norm: Weights) -> Float[Array, "*batch n_state"]:
    """Zero mean and unit variance over the last axis, scaled and shifted; computed in float32."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)
    return (normed * norm["weight"] + norm["bias"]).astype(x.dtype)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x · Φ(x), with the exact normal distribution function and not its tanh approximation."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)


def _conv(how: Arithmetic, x: Float[Array, "batch n n_in"], layer: Weights, *, stride: int) -> Array:
    """Convolution over frames with a kernel of three, as one product: [batch, n, n_in] → [batch, n / stride, n_out]."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    taps = [padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)]
    return linear(how, jnp.concatenate(taps, axis=-1), layer)


def _audio_block(how: Arithmetic, x: Array, block: Weights) -> Array:
    q, k, v = _packed(how, layer_norm(x, block["attn_ln"]), block["attn_qkv"], n_head=how.dims.n_audio_head)
    x = x + linear(how, _audio_attention(how, q, k, v), block["attn_out"])
    return x + _mlp(how, x, block)


def _mlp(how: Arithmetic, x: Array, block: Weights) -> Array:
    inner = gelu(linear(how, layer_norm(x, block["mlp_ln"]), block["mlp_in"]))
    return linear(how, how.placement.constrain(inner, "batch", "length", "mlp"), block["mlp_out"])


def _packed(how: Arithmetic, x: Array, layer: Weights, *, n_head: int) -> tuple[Array, ...]:
    """Several projections of x, split into heads: each [batch, n, n_head, head_dim]."""
    parts = jnp.einsum("bnd,dph->bnph", x, layer["weight"], precision=how.precision) + layer["bias"]
    heads = parts.reshape(*parts.shape[:3], n_head, -1)
    heads = how.placement.constrain(heads, "batch", "length", "parts", "heads", "head_dim")
    return tuple(heads[:, :, part] for part in range(heads.shape[2]))


def _cross_keys_and_values(how: Arithmetic, audio: Array, layer: Weights) -> tuple[Array, Array]:
    k, v = (one.transpose(0, 2, 1, 3) for one in _packed(how, audio, layer, n_head=how.dims.n_text_head))
    return how.placement.constrain(k, *CACHE_AXES), how.placement.constrain(v, *CACHE_AXES)


def _audio_attention(how: Arithmetic, q: Array, k: Array, v: Array) -> Float[Array, "batch n n_state"]:
    """Every frame looks at every frame; some hundred queries at a time, as all scores together are large."""
    batch, n, n_head, head_dim = q.shape
    if how.flash:
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn").reshape(batch, n, n_head * head_dim)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    if n % _QUERIES_AT_ONCE or n == _QUERIES_AT_ONCE:
        return _attention(how, q, k, v)
    blocks = q.reshape(batch, -1, _QUERIES_AT_ONCE, n_head, head_dim).swapaxes(0, 1)
    attended = jax.lax.map(lambda block: _attention(how, block, k, v), blocks)
    return attended.swapaxes(0, 1).reshape(batch, n, n_head * head_dim)


def _cross_attention(how: Arithmetic, x: Array, block: Weights, k: Array, v: Array) -> Array:
    """The sequences of one window read its keys and values together: they stand side by side, as more queries."""
    n_seq, n_new, n_state = x.shape
    q = linear(how, layer_norm(x, block["cross_ln"]), block["cross_query"])
    q = q.reshape(len(k), n_seq // len(k) * n_new, k.shape[1], k.shape[3])
    return _attention(how, q, k, v).reshape(n_seq, n_new, n_state)


def _attention(
    how: Arithmetic,
    q: Float[Array, "batch n_q n_head head_dim"],
    k: Float[Array, "batch n_head n_k head_dim"],
    v: Float[Array, "batch n_head n_k head_dim"],
    visible: Array | None = None,
) -> Float[Array, "batch n_q n_state"]:
    """softmax(q · k) · v, the heads joined again; `visible` says which keys a query sees, [n_q, n_k]."""
    scores = jnp.einsum(
        "bqhd,bhkd->bhqk", q * q.shape[-1] ** -0.5, k, precision=how.precision, preferred_element_type=jnp.float32
    )
    if visible is not None:
        scores = jnp.where(visible, scores, -jnp.inf)
    shares = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    attended = jnp.einsum("bhqk,bhkd->bqhd", shares, v, precision=how.precision)
    return attended.reshape(*attended.shape[:2], -1)


def _write(buffer: Array, new: Array, places: Array) -> Array:
    """`buffer` [n_seq, n_head, n_text_ctx, head_dim] with `new` at `places`; one place is written without a copy."""
    if len(places) == 1:
        return jax.lax.dynamic_update_slice_in_dim(buffer, new, places[0], axis=2)
    return buffer.at[:, :, places].set(new, mode="drop")


def _constrained(how: Arithmetic, cache: KeysAndValues) -> KeysAndValues:
    placed: KeysAndValues = jax.tree.map(lambda one: how.placement.constrain(one, *CACHE_AXES), cache)
    return placed
