"""Fuse the attention of a step graph into ONNX Runtime's DecoderMaskedMultiHeadAttention.

    before   q, k, v [n_seq, 1, n_state] ─► split ─► ScatterND, Slice ─► MatMul ─► Softmax ─► MatMul ─► merge
    after    q, k, v, past_k, past_v, n_past ─► DecoderMaskedMultiHeadAttention (scale) ─► rows, present_k, present_v

             q [n_seq, 1, n_state], cross_k, cross_v ─► DecoderMaskedMultiHeadAttention (scale) ─► rows

It may fire only where every call gives one new token: in a graph whose input of tokens has the fixed shape
[n_seq, 1]. That is a second graph with a second copy of the weights beside the one for the prompt, unless both share
them, so the usual compilation does not use it. And it needs the buffers of `make_kv_cache_static`: ONNX Runtime's
CPU kernel refuses a cache that grows.

Declines as `fuse_attention` does, where more than one token may come, where the cache grows, for cross-attention whose
keys are laid out as [n_seq, n_head, head_dim, n_audio_ctx], and for float16.
"""

import onnx_ir as ir

from stagewhisper.compiler.attention_blocks import AttentionBlock, attention_blocks
from stagewhisper.compiler.attention_fusion import past_length, place_of, replace_attention
from stagewhisper.compiler.graph_tools import MICROSOFT, new_node


def decoder_masked_attention(graph: ir.Graph, *, cross_attention: bool = True) -> int:
    """Fuse the attention of a step graph into DecoderMaskedMultiHeadAttention; returns how many there were."""
    past_lengths: dict[ir.Value, ir.Value] = {}
    fused = 0
    for block in attention_blocks(graph):
        if _fits(block, cross_attention=cross_attention):
            fused += _fuse(graph, block, past_lengths)
    if fused:
        graph.sort()
    return fused


def _fits(block: AttentionBlock, *, cross_attention: bool) -> bool:
    if block.sees != "newest" or block.dtype not in (None, ir.DataType.FLOAT):
        return False
    if block.key.cache is not None:
        return block.key.cache.n_past is not None
    return cross_attention and block.key.rows is None and not block.key.turned_heads


def _fuse(graph: ir.Graph, block: AttentionBlock, past_lengths: dict[ir.Value, ir.Value]) -> int:
    before, key_cache, value_cache = place_of(block), block.key.cache, block.value.cache
    inputs: list[ir.Value | None] = [block.query.rows, block.key.rows, block.value.rows]
    if key_cache is None or value_cache is None:
        inputs[1:] = [block.key.heads, block.value.heads]
    elif key_cache.n_past is not None:
        length = past_length(graph, before, key_cache.n_past, past_lengths)
        inputs += [None, None, key_cache.past, value_cache.past, length]
    node = new_node(
        graph,
        before,
        "DecoderMaskedMultiHeadAttention",
        *inputs,
        domain=MICROSOFT,
        n_outputs=3 if block.cached else 1,
        num_heads=block.n_head,
        scale=block.scale,
        past_present_share_buffer=1 if block.cached else None,
    )
    return replace_attention(graph, block, node)
