"""Write a checkpoint's encoder and decoder as plain ONNX graphs, straight from its weights.

    encoder   mel ─► conv, conv ─► blocks ─► audio_features
                                               └─► cross_k_i, cross_v_i of every decoder layer, once per window
    decoder   tokens, past_self_{k,v}_i, cross_{k,v}_i ─► blocks ─► logits at logit_positions, present_self_{k,v}_i

One decoder graph serves the prompt (many new tokens) and the steps (one). The graphs are as plain as the paper's
equations; making them fast is the work of compiler passes.

Source: Radford et al. 2022, section 2.2; openai/whisper, `model.py`.
"""

from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.checkpoint import Checkpoint, ModelDims
from stagewhisper.compiler.graph_builder import Dim, GraphBuilder

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


@dataclass(frozen=True)
class LayerCache:
    """The graph inputs that hold one decoder layer's keys and values."""

    past_self_k: ir.Value
    past_self_v: ir.Value
    cross_k: ir.Value
    cross_v: ir.Value


def export_encoder(checkpoint: Checkpoint) -> ir.Model:
    """The encoder's graph.

    Input: `mel`, float32 [n_audio, n_mels, 2 n_audio_ctx].
    Outputs: `audio_features` [n_audio, n_audio_ctx, n_audio_state] and for every decoder layer i
    `cross_k_i` [n_audio, n_head, head_dim, n_audio_ctx] (laid out as the right operand of q·kᵀ) and
    `cross_v_i` [n_audio, n_head, n_audio_ctx, head_dim].
    """
    dims = checkpoint.dims
    build = GraphBuilder("whisper_encoder", checkpoint)
    mel = build.input("mel", FLOAT, ["n_audio", dims.n_mels, 2 * dims.n_audio_ctx])
    x = build.op("Gelu", _conv(build, mel, "encoder.conv1", stride=1))
    x = build.op("Gelu", _conv(build, x, "encoder.conv2", stride=2))
    x = build.op("Transpose", x, perm=[0, 2, 1])
    x = build.op("Add", x, build.weight("encoder.positional_embedding"))
    for layer in range(dims.n_audio_layer):
        x = _encoder_block(build, x, f"encoder.blocks.{layer}", n_head=dims.n_audio_head)
    x = build.layer_norm(x, "encoder.ln_post")
    build.output("audio_features", x, FLOAT, ["n_audio", dims.n_audio_ctx, dims.n_audio_state])
    for layer in range(dims.n_text_layer):
        _output_cross_kv(build, x, layer, dims)
    return build.model()


def export_decoder(checkpoint: Checkpoint) -> ir.Model:
    """The decoder's graph, for prompt and steps alike.

    Inputs: `tokens` int64 [n_seq, n_new]; `logit_positions` int64 [n_positions], indices into the new tokens at
    which logits are wanted (negative ones count from the end); for every layer i `past_self_k_i` and
    `past_self_v_i` [n_seq, n_head, n_past, head_dim], and the encoder's `cross_k_i` and `cross_v_i`. Sequences of
    one window stand side by side: n_seq is a multiple of n_audio.
    Outputs: `present_self_k_i` and `present_self_v_i` [n_seq, n_head, n_past + n_new, head_dim], and `logits`
    [n_seq, n_positions, n_vocab].
    """
    dims = checkpoint.dims
    build = GraphBuilder("whisper_decoder", checkpoint)
    tokens = build.input("tokens", INT64, ["n_seq", "n_new"])
    logit_positions = build.input("logit_positions", INT64, ["n_positions"])
    caches = [_cache_inputs(build, layer, dims) for layer in range(dims.n_text_layer)]
    positions, mask = _positions_and_mask(build, tokens, past_k=caches[0].past_self_k)

    x = build.op("Gather", build.weight("decoder.token_embedding.weight"), tokens, axis=0)
    x = build.op("Add", x, build.op("Gather", build.weight("decoder.positional_embedding"), positions, axis=0))
    for layer, cache in enumerate(caches):
        x = _decoder_block(build, x, layer, mask=mask, cache=cache, dims=dims)
    x = build.op("Gather", x, logit_positions, axis=1)
    x = build.layer_norm(x, "decoder.ln")
    logits = build.op("MatMul", x, _output_projection(build))
    build.output("logits", logits, FLOAT, ["n_seq", "n_positions", dims.n_vocab])
    return build.model()


def _conv(build: GraphBuilder, x: ir.Value, name: str, *, stride: int) -> ir.Value:
    weight, bias = build.weight(f"{name}.weight"), build.weight(f"{name}.bias")
    return build.op("Conv", x, weight, bias, kernel_shape=[3], pads=[1, 1], strides=[stride])


def _encoder_block(build: GraphBuilder, x: ir.Value, name: str, *, n_head: int) -> ir.Value:
    normed = build.layer_norm(x, f"{name}.attn_ln")
    q = _split_heads(build, _query(build, normed, f"{name}.attn", n_head=n_head), n_head, perm=[0, 2, 1, 3])
    k = _split_heads(build, build.linear(normed, f"{name}.attn.key", bias=False), n_head, perm=[0, 2, 3, 1])
    v = _split_heads(build, build.linear(normed, f"{name}.attn.value"), n_head, perm=[0, 2, 1, 3])
    attended = _merge_heads(build, _attend(build, q, k, v))
    x = build.op("Add", x, build.linear(attended, f"{name}.attn.out"))
    return _mlp(build, x, name)


def _decoder_block(
    build: GraphBuilder,
    x: ir.Value,
    layer: int,
    *,
    mask: ir.Value,
    cache: LayerCache,
    dims: ModelDims,
) -> ir.Value:
    name = f"decoder.blocks.{layer}"
    x = build.op("Add", x, _self_attention(build, x, layer, mask=mask, cache=cache, dims=dims))
    x = build.op("Add", x, _cross_attention(build, x, name, cache=cache, dims=dims))
    return _mlp(build, x, name)


def _self_attention(
    build: GraphBuilder,
    x: ir.Value,
    layer: int,
    *,
    mask: ir.Value,
    cache: LayerCache,
    dims: ModelDims,
) -> ir.Value:
    name, n_head = f"decoder.blocks.{layer}.attn", dims.n_text_head
    normed = build.layer_norm(x, f"{name}_ln")
    q = _split_heads(build, _query(build, normed, name, n_head=n_head), n_head, perm=[0, 2, 1, 3])
    new_k = _split_heads(build, build.linear(normed, f"{name}.key", bias=False), n_head, perm=[0, 2, 1, 3])
    new_v = _split_heads(build, build.linear(normed, f"{name}.value"), n_head, perm=[0, 2, 1, 3])
    k = build.op("Concat", cache.past_self_k, new_k, axis=2)
    v = build.op("Concat", cache.past_self_v, new_v, axis=2)
    shape: list[Dim] = ["n_seq", n_head, "n_past + n_new", dims.n_text_state // n_head]
    build.output(f"present_self_k_{layer}", k, FLOAT, shape)
    build.output(f"present_self_v_{layer}", v, FLOAT, shape)
    attended = _attend(build, q, build.op("Transpose", k, perm=[0, 1, 3, 2]), v, mask=mask)
    return build.linear(_merge_heads(build, attended), f"{name}.out")


def _cross_attention(build: GraphBuilder, x: ir.Value, name: str, *, cache: LayerCache, dims: ModelDims) -> ir.Value:
    n_head = dims.n_text_head
    normed = build.layer_norm(x, f"{name}.cross_attn_ln")
    q = _split_heads(build, _query(build, normed, f"{name}.cross_attn", n_head=n_head), n_head, perm=[0, 2, 1, 3])
    n_group = build.op("Div", build.dim(x, 0), build.dim(cache.cross_k, 0))
    k_shape, v_shape = _cross_shapes(dims)
    k = _repeat_per_sequence(build, cache.cross_k, n_group, shape=k_shape)
    v = _repeat_per_sequence(build, cache.cross_v, n_group, shape=v_shape)
    return build.linear(_merge_heads(build, _attend(build, q, k, v)), f"{name}.cross_attn.out")


def _repeat_per_sequence(build: GraphBuilder, x: ir.Value, n_group: ir.Value, *, shape: list[Dim]) -> ir.Value:
    """[n_audio, ..] → [n_audio · n_group, ..], every window's rows standing side by side."""
    one = build.constant([1])
    repeats = build.op("Concat", one, build.op("Unsqueeze", n_group, build.constant([0])), one, one, one, axis=0)
    repeated = build.op("Expand", build.op("Unsqueeze", x, one), repeats)
    return build.op("Reshape", repeated, build.constant([-1, *(int(length) for length in shape[1:])]))


def _mlp(build: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
    hidden = build.linear(build.layer_norm(x, f"{name}.mlp_ln"), f"{name}.mlp.0")
    return build.op("Add", x, build.linear(build.op("Gelu", hidden), f"{name}.mlp.2"))


def _query(build: GraphBuilder, x: ir.Value, name: str, *, n_head: int) -> ir.Value:
    """Queries divided by √head_dim, so that attention needs no scale of its own."""
    n_state = build.weight_shape(f"{name}.query.weight")[0]
    return build.op("Mul", build.linear(x, f"{name}.query"), build.constant((n_state // n_head) ** -0.5))


def _attend(build: GraphBuilder, q: ir.Value, k: ir.Value, v: ir.Value, *, mask: ir.Value | None = None) -> ir.Value:
    """softmax(q·k + mask)·v with q and v [.., n, head_dim] and k already [.., head_dim, n]."""
    scores = build.op("MatMul", q, k)
    if mask is not None:
        scores = build.op("Add", scores, mask)
    return build.op("MatMul", build.op("Softmax", scores, axis=-1), v)


def _split_heads(build: GraphBuilder, x: ir.Value, n_head: int, *, perm: list[int]) -> ir.Value:
    return build.op("Transpose", build.op("Reshape", x, build.constant([0, 0, n_head, -1])), perm=perm)


def _merge_heads(build: GraphBuilder, x: ir.Value) -> ir.Value:
    return build.op("Reshape", build.op("Transpose", x, perm=[0, 2, 1, 3]), build.constant([0, 0, -1]))


def _output_cross_kv(build: GraphBuilder, features: ir.Value, layer: int, dims: ModelDims) -> None:
    name, n_head = f"decoder.blocks.{layer}.cross_attn", dims.n_text_head
    k = _split_heads(build, build.linear(features, f"{name}.key", bias=False), n_head, perm=[0, 2, 3, 1])
    v = _split_heads(build, build.linear(features, f"{name}.value"), n_head, perm=[0, 2, 1, 3])
    k_shape, v_shape = _cross_shapes(dims)
    build.output(f"cross_k_{layer}", k, FLOAT, k_shape)
    build.output(f"cross_v_{layer}", v, FLOAT, v_shape)


def _cross_shapes(dims: ModelDims) -> tuple[list[Dim], list[Dim]]:
    head_dim = dims.n_text_state // dims.n_text_head
    k_shape: list[Dim] = ["n_audio", dims.n_text_head, head_dim, dims.n_audio_ctx]
    v_shape: list[Dim] = ["n_audio", dims.n_text_head, dims.n_audio_ctx, head_dim]
    return k_shape, v_shape


def _cache_inputs(build: GraphBuilder, layer: int, dims: ModelDims) -> LayerCache:
    past: list[Dim] = ["n_seq", dims.n_text_head, "n_past", dims.n_text_state // dims.n_text_head]
    k_shape, v_shape = _cross_shapes(dims)
    return LayerCache(
        past_self_k=build.input(f"past_self_k_{layer}", FLOAT, past),
        past_self_v=build.input(f"past_self_v_{layer}", FLOAT, past),
        cross_k=build.input(f"cross_k_{layer}", FLOAT, k_shape),
        cross_v=build.input(f"cross_v_{layer}", FLOAT, v_shape),
    )


def _positions_and_mask(build: GraphBuilder, tokens: ir.Value, *, past_k: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Positions of the new tokens, [n_new], and the causal mask to add to scores, [n_new, n_past + n_new]."""
    zero, one = build.constant(0), build.constant(1)
    n_past = build.dim(past_k, 2)
    n_total = build.op("Add", n_past, build.dim(tokens, 1))
    query_positions = build.op("Range", n_past, n_total, one)
    key_positions = build.op("Range", zero, n_total, one)
    rows = build.op("Unsqueeze", query_positions, build.constant([1]))
    visible = build.op("LessOrEqual", key_positions, rows)
    mask = build.op("Where", visible, build.constant(0.0), build.constant(float("-inf")))
    return query_positions, mask


def _output_projection(build: GraphBuilder) -> ir.Value:
    """The token embedding turned over: Whisper reads and writes tokens with the same matrix."""
    return build.op("Transpose", build.weight("decoder.token_embedding.weight"), perm=[1, 0])
