"""Fuse attention into ONNX Runtime's MultiHeadAttention, which splits and merges the heads itself.

    before   q ─► Mul √ ─► Reshape ─► Transpose ─┐
             k ──────────► Reshape ─► Transpose ─┴► MatMul ─► Softmax ─┐
             v ──────────► Reshape ─► Transpose ───────────────────────┴► MatMul ─► Transpose ─► Reshape
    after    q, k, v ─► MultiHeadAttention (scale)

The encoder's self-attention, and a decoder's wherever keys and values are computed in the same graph; a causal mask
becomes the attribute `unidirectional`. Whether the scale is a Mul of q, of q and k, or a Div of the scores is all one.

Two more forms are asked for:
    cached             the decoder's self-attention with its keys and values of earlier calls, growing or in buffers.
                       Like GroupQueryAttention, which is a little slower, but which knows float16 and int8 as well;
                       this operator in turn takes several tokens for several sequences on a filled cache.
    cross_attention    keys and values that come in heads from outside. They must be laid out as
                       [n_seq, n_head, n_audio_ctx, head_dim] and be repeated for every sequence: `broadcast_tile`,
                       which folds beams into the rows of plain MatMuls, reads them once and is faster.

Declines where the weights of the softmax are used elsewhere (word timestamps ask for them), where a mask is not
causal, where shapes are not what the fusion needs at every length that is tried, and for float16, for which ONNX
Runtime's CPU has no such kernel: it would cast to float32 and back.
"""

import onnx_ir as ir

from stagewhisper.compiler.attention_blocks import AttentionBlock, attention_blocks
from stagewhisper.compiler.attention_fusion import past_length, place_of, replace_attention
from stagewhisper.compiler.graph_tools import MICROSOFT, new_node


def fuse_attention(graph: ir.Graph, *, cached: bool = False, cross_attention: bool = False) -> int:
    """Fuse attention into ONNX Runtime's MultiHeadAttention; returns how many there were."""
    past_lengths: dict[ir.Value, ir.Value] = {}
    fused = 0
    for block in attention_blocks(graph):
        if _fits(block, cached=cached, cross_attention=cross_attention):
            fused += _fuse(graph, block, past_lengths)
    if fused:
        graph.sort()
    return fused


def _fits(block: AttentionBlock, *, cached: bool, cross_attention: bool) -> bool:
    if block.dtype not in (None, ir.DataType.FLOAT):
        return False
    if block.cached:
        return cached and block.sees in ("causal", "newest")
    if block.key.rows is None:
        return cross_attention and block.sees in ("all", "newest") and not block.key.turned_heads
    return block.sees in ("all", "newest") or (block.sees == "causal" and block.new_only)


def _fuse(graph: ir.Graph, block: AttentionBlock, past_lengths: dict[ir.Value, ir.Value]) -> int:
    before, key_cache, value_cache = place_of(block), block.key.cache, block.value.cache
    rows = [operand.rows or operand.heads for operand in (block.query, block.key, block.value)]
    inputs: list[ir.Value | None] = [*rows]
    if key_cache is not None and value_cache is not None:
        inputs += [None, None, None, key_cache.past, value_cache.past]
        if key_cache.n_past is not None:
            inputs.append(past_length(graph, before, key_cache.n_past, past_lengths))
    node = new_node(
        graph,
        before,
        "MultiHeadAttention",
        *inputs,
        domain=MICROSOFT,
        n_outputs=3 if block.cached else 1,
        num_heads=block.n_head,
        scale=block.scale,
        unidirectional=1 if block.sees == "causal" else None,
    )
    return replace_attention(graph, block, node)
