"""Every weight of a Whisper model: openai/whisper's name, transformers' name, and shape."""

from collections.abc import Iterator, Mapping

from stagewhisper.checkpoint.dims import ModelDims

AUDIO_POSITIONS = "encoder.positional_embedding"
"""Fixed sinusoids, which a file may leave out."""

TOKEN_EMBEDDING = "decoder.token_embedding.weight"  # noqa: S105
"""The input embedding, which is also the output projection."""

_CONV_WIDTH = 3  # openai/whisper, AudioEncoder
_MLP_FACTOR = 4  # openai/whisper, ResidualAttentionBlock

_HUGGINGFACE_PARTS = {
    "blocks": "layers",
    "token_embedding": "embed_tokens",
    "positional_embedding": "embed_positions.weight",
    "attn": "self_attn",
    "attn_ln": "self_attn_layer_norm",
    "cross_attn": "encoder_attn",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "out": "out_proj",
    "mlp_ln": "final_layer_norm",
    "ln_post": "layer_norm",
    "ln": "layer_norm",
}


def weight_shapes(dims: ModelDims) -> Mapping[str, tuple[int, ...]]:
    """Shape of each weight by openai/whisper's name, in torch's layout ([out, in])."""
    return dict([*_encoder(dims), *_decoder(dims)])


def huggingface_name(name: str) -> str:
    """Transformers' name, without its leading "model.", of openai/whisper's `name`.

    Source: WhisperModel of transformers' modeling_whisper.py.
    """
    parts = name.replace("mlp.0", "fc1").replace("mlp.2", "fc2").split(".")
    return ".".join(_HUGGINGFACE_PARTS.get(part, part) for part in parts)


_Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _encoder(dims: ModelDims) -> _Shapes:
    n_state = dims.n_audio_state
    yield "encoder.conv1.weight", (n_state, dims.n_mels, _CONV_WIDTH)
    yield "encoder.conv1.bias", (n_state,)
    yield "encoder.conv2.weight", (n_state, n_state, _CONV_WIDTH)
    yield "encoder.conv2.bias", (n_state,)
    yield AUDIO_POSITIONS, (dims.n_audio_ctx, n_state)
    for layer in range(dims.n_audio_layer):
        block = f"encoder.blocks.{layer}"
        yield from _attention(f"{block}.attn", n_state)
        yield from _mlp(block, n_state)
    yield from _layer_norm("encoder.ln_post", n_state)


def _decoder(dims: ModelDims) -> _Shapes:
    n_state = dims.n_text_state
    yield TOKEN_EMBEDDING, (dims.n_vocab, n_state)
    yield "decoder.positional_embedding", (dims.n_text_ctx, n_state)
    for layer in range(dims.n_text_layer):
        block = f"decoder.blocks.{layer}"
        yield from _attention(f"{block}.attn", n_state)
        yield from _attention(f"{block}.cross_attn", n_state)
        yield from _mlp(block, n_state)
    yield from _layer_norm("decoder.ln", n_state)


def _attention(name: str, n_state: int) -> _Shapes:
    for part in ("query", "key", "value", "out"):
        yield f"{name}.{part}.weight", (n_state, n_state)
        if part != "key":  # its bias would add the same to every score of a query, which softmax ignores
            yield f"{name}.{part}.bias", (n_state,)
    yield from _layer_norm(f"{name}_ln", n_state)


def _mlp(block: str, n_state: int) -> _Shapes:
    n_inner = _MLP_FACTOR * n_state
    yield f"{block}.mlp.0.weight", (n_inner, n_state)
    yield f"{block}.mlp.0.bias", (n_inner,)
    yield f"{block}.mlp.2.weight", (n_state, n_inner)
    yield f"{block}.mlp.2.bias", (n_state,)
    yield from _layer_norm(f"{block}.mlp_ln", n_state)


def _layer_norm(name: str, n_state: int) -> _Shapes:
    yield f"{name}.weight", (n_state,)
    yield f"{name}.bias", (n_state,)
