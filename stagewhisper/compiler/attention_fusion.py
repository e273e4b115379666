"""Put one attention operator in the place of an attention block."""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.attention_blocks import AttentionBlock
from stagewhisper.compiler.graph_tools import add_initializer, new_op, remove_unused, replace_value


def place_of(block: AttentionBlock) -> ir.Node:
    """Where new nodes may stand; sort the graph afterwards, for who reads a cache may stand earlier."""
    node = block.output.producer()
    assert node is not None  # noqa: S101  a block's output is merged from its heads
    return node


def past_length(graph: ir.Graph, before: ir.Node, n_past: ir.Value, known: dict[ir.Value, ir.Value]) -> ir.Value:
    """`n_past` as int32 [1], computed once for all layers: `known` is empty at first."""
    if n_past not in known:
        number = new_op(graph, before, "Cast", n_past, to=ir.DataType.INT32.value)
        shape = add_initializer(graph, "past_length_shape", np.asarray([1]))
        known[n_past] = new_op(graph, before, "Reshape", number, shape)
    return known[n_past]


def replace_attention(graph: ir.Graph, block: AttentionBlock, node: ir.Node) -> int:
    """1, and `node` instead of the block: its outputs are the attended rows and, if it has more, present k and v.

    0, and the graph as it was, if what goes into `node` is computed from what would come out of it.
    """
    presents = _presents(block) if len(node.outputs) == 3 else []
    if any(_depends(value, present) for value in node.inputs for present in presents):
        remove_unused(graph, node)
        return 0
    merged = place_of(block)
    replace_value(graph, block.output, node.outputs[0])
    remove_unused(graph, merged)
    for old, new in zip(presents, node.outputs[1:], strict=True) if presents else ():
        writer = old.producer()
        replace_value(graph, old, new)
        if writer is not None:
            remove_unused(graph, writer)
    return 1


def _presents(block: AttentionBlock) -> list[ir.Value]:
    return [operand.heads if operand.cache is None else operand.cache.present for operand in (block.key, block.value)]


def _depends(value: ir.Value | None, on: ir.Value) -> bool:
    """Whether `value` is computed from `on`."""
    waiting, seen = [value], set()
    while waiting:
        current = waiting.pop()
        if current is None or current in seen:
            continue
        if current is on:
            return True
        seen.add(current)
        node = current.producer()
        waiting += node.inputs if node is not None else ()
    return False
