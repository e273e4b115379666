"""Fuse the decoder's self-attention, with its cache, into ONNX Runtime's GroupQueryAttention.

    before   past_k ─► Concat(past_k, split k) ─► present_k ─► Transpose ─┐
             q ─► Mul √ ─► split ─────────────────────────────────────────┴► MatMul ─► + mask ─► Softmax ─► MatMul ─► ·
    after    q, k, v, past_k, past_v, lengths ─► GroupQueryAttention (scale) ─► rows, present_k, present_v

The same for the buffers of `make_kv_cache_static` (ScatterND ─► Slice instead of Concat), where the operator writes the
new positions into the buffer itself and reads no more of it than is filled; and for a prompt's decoder without a past.
The biases of q and v stay as they are, before the operator, which has none. The mask goes: the operator is causal.

What it buys on Whisper: one kernel instead of ten nodes and a mask per layer, no copy of the cache, the only attention
kernel for float16 that ONNX Runtime has on the CPU, and a cache of 8 bits (`cache_scales`).
What it does not buy: sharing of keys and values, which it is named after. Whisper has as many heads of keys and
values as of queries (`kv_num_heads` = `num_heads`), so there is no less to compute and to read than before.

What it costs: several new tokens on a filled cache work for one sequence only; prompts on an empty cache and steps of
one token work for any number. Where more is needed, use `fuse_attention(cached=True)`.

Declines as `fuse_attention` does, where the mask is not causal, where keys and values come from elsewhere than the
new tokens (cross-attention), where the cache is not laid out as [n_seq, n_head, n, head_dim], and where head_dim is no
multiple of 8.
"""

from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.attention_blocks import AttentionBlock, attention_blocks
from stagewhisper.compiler.attention_fusion import place_of, replace_attention
from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_tools import MICROSOFT, add_initializer, new_node, new_op
from stagewhisper.compiler.int8_cache import forget_present, quantize_caches, quantize_past, read_scales
from stagewhisper.compiler.trial_lengths import TRIES, tokens_input

_HEAD_DIM_MULTIPLE = 8


@declares(adapt_inputs=quantize_past, adapt_outputs=forget_present)
def group_query_attention(graph: ir.Graph, *, cache_scales: str = "") -> int:
    """Fuse the decoder's self-attention, with its cache, into GroupQueryAttention; returns how many layers there were.

    `cache_scales` makes the caches int8: the path of a JSON file that says for every input that holds one
    (`past_self_k_0`, …) what number a step of 1 in it stands for, or a list with one for each of its n_head · head_dim
    channels; `int8_cache.write_scales` makes it from caches that were seen. Caches that become int8 count as rewrites,
    too. The numbers change: give the step a `tolerance`.

    Raises:
        CompilerError: the file cannot be read, lacks an input, has one of wrong size, or a scale that is not above 0.
    """
    shared: dict[object, tuple[ir.Value, ir.Value]] = {}
    fused = 0
    for block in attention_blocks(graph):
        if _fits(block):
            fused += _fuse(graph, block, shared)
    if fused:
        graph.sort()
    return fused + (quantize_caches(graph, read_scales(Path(cache_scales))) if cache_scales else 0)


def _fits(block: AttentionBlock) -> bool:
    if block.head_dim % _HEAD_DIM_MULTIPLE or block.dtype not in (None, ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return False
    if block.cached:
        return block.sees in ("causal", "newest")
    return block.sees == "causal" and block.new_only and block.key.rows is not None


def _fuse(graph: ir.Graph, block: AttentionBlock, shared: dict[object, tuple[ir.Value, ir.Value]]) -> int:
    before, key_cache, value_cache = place_of(block), block.key.cache, block.value.cache
    if (block.lengths, block.cached) not in shared:
        shared[block.lengths, block.cached] = _lengths(graph, before, block)
    rows = [operand.rows for operand in (block.query, block.key, block.value)]
    past = (None if key_cache is None else key_cache.past, None if value_cache is None else value_cache.past)
    gives_present = block.cached or block.key.heads.is_graph_output() or block.value.heads.is_graph_output()
    node = new_node(
        graph,
        before,
        "GroupQueryAttention",
        *rows,
        *past,
        *shared[block.lengths, block.cached],
        domain=MICROSOFT,
        n_outputs=3 if gives_present and not block.key.turned_heads else 1,
        num_heads=block.n_head,
        kv_num_heads=block.n_head,
        scale=block.scale,
    )
    return replace_attention(graph, block, node)


def _lengths(graph: ir.Graph, before: ir.Node, block: AttentionBlock) -> tuple[ir.Value, ir.Value]:
    """(int32 [n_seq], the last position of every sequence; int32 scalar, how many there are), once for all layers."""

    def constant(name: str, numbers: int | list[int]) -> ir.Value:
        return add_initializer(graph, name, np.asarray(numbers, np.int64))

    shape, int32 = new_op(graph, before, "Shape", _as_long_as(graph, block)), ir.DataType.INT32.value
    total = new_op(graph, before, "Gather", shape, constant("axis_n_new", 1), axis=0)
    cache = block.key.cache
    if cache is not None:
        n_past = cache.n_past or new_op(
            graph, before, "Gather", new_op(graph, before, "Shape", cache.past), constant("axis_n_past", 2), axis=0
        )
        total = new_op(graph, before, "Add", n_past, total)
    last = new_op(graph, before, "Cast", new_op(graph, before, "Sub", total, constant("one_position", 1)), to=int32)
    n_seq = new_op(graph, before, "Gather", shape, constant("axes_n_seq", [0]), axis=0)
    return new_op(graph, before, "Expand", last, n_seq), new_op(graph, before, "Cast", total, to=int32)


def _as_long_as(graph: ir.Graph, block: AttentionBlock) -> ir.Value:
    """A value [n_seq, n_new, ..]: the tokens if they fit, for queries that only the operator reads can be packed."""
    tokens = tokens_input(graph)
    if tokens is not None and tokens.shape is not None:
        n_new = tokens.shape[1]
        expected = [(one.n_seq, n_new if isinstance(n_new, int) else one.n_new) for one in TRIES]
        if expected == [(n_seq, n_query) for n_seq, n_query, _ in block.lengths]:
            return tokens
    assert block.query.rows is not None  # noqa: S101  `attention_blocks` finds no others
    return block.query.rows
