"""Attend to a window's keys and values from all its beams at once, instead of copying them for every beam.

    before   k, v [n_audio, n_head, ..] ─► Expand or Tile ─► [n_audio · n_group, n_head, ..], 1500 positions copied
             q [n_audio · n_group, n_head, n_new, head_dim] ─► MatMul ─► Softmax ─► MatMul ─► Transpose
    after    q ─► Reshape [n_audio, n_head, n_group · n_new, head_dim] ─► MatMul k ─► Softmax ─► MatMul v
             ─► Transpose ─► Reshape back

Each query row has a softmax of its own, so beams can be rows like new tokens. The Reshapes stand where positions come
before heads, [n_seq, n_new, n_head, head_dim], where a window's rows lie side by side already: they move nothing.

A MatMul with repeated rows that is no such attention is broadcast: q is seen as [n_audio, n_group, n_head, ..] and
multiplied with [n_audio, 1, n_head, ..].

Declines when the graph does not say that q has as many rows as the repeated keys, and when whole windows are tiled one
after the other (unless there is one), which is not how Whisper's beams lie.

Source: TPU-MLIR's Tile to broadcast; the folding of beams into query rows is ours.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    constant_operand,
    is_op,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    scalar_of,
)
from stagewhisper.compiler.lengths import known_rank
from stagewhisper.compiler.repeated_rows import RepeatedRows, repeated_rows
from stagewhisper.compiler.row_keys import RowKeys, row_keys

_HEADS_FIRST = [0, 2, 1, 3]
"""Between [rows, positions, n_head, head_dim] and [rows, n_head, positions, head_dim]."""


@dataclass(frozen=True)
class _Context:
    """The graph that is rewritten, and what its rewrites share."""

    graph: ir.Graph
    keys: RowKeys
    n_audio: dict[Hashable, ir.Value] = field(default_factory=dict)
    """The number of windows, [1], by the key of the rows that it counts."""


def broadcast_tile(graph: ir.Graph) -> int:
    """Free every MatMul of a copy of its right operand for each sequence; returns how many there were."""
    context = _Context(graph, row_keys(graph))
    freed = 0
    for matmul in nodes_of(graph, "MatMul"):
        keys = _repeated_operand(context, matmul, queries=matmul.inputs[0])
        if keys is None:
            continue
        last = _end_of_attention(matmul)
        values = None if last is None else _repeated_operand(context, last, queries=matmul.inputs[0])
        if last is not None and values is not None and _same_rows(context, keys.source, values.source):
            _fold(context, matmul, keys, last, values)
            freed += 2
        else:
            _broadcast(context, matmul, keys)
            freed += 1
    return freed


def _repeated_operand(context: _Context, matmul: ir.Node, *, queries: ir.Value | None) -> RepeatedRows | None:
    """What the right operand repeats, if that makes as many rows as there are queries."""
    right = matmul.inputs[1]
    repeated = repeated_rows(right)
    fits = repeated is not None and known_rank(queries) == 4 and _same_rows(context, queries, right)
    return repeated if fits else None


def _same_rows(context: _Context, left: ir.Value | None, right: ir.Value | None) -> bool:
    if left is None or right is None:
        return False
    key = context.keys.get(left)
    return key is not None and key == context.keys.get(right)


def _end_of_attention(scores: ir.Node) -> ir.Node | None:
    """The MatMul that follows `scores`, if all between treats every row by itself and in the same way."""
    value = scores.outputs[0]
    while (node := only_consumer(value)) is not None:
        if is_op(node, "MatMul"):
            return node if node.inputs[0] is value else None
        if not _treats_rows_alike(node):
            return None
        value = node.outputs[0]
    return None


def _treats_rows_alike(node: ir.Node) -> bool:
    if is_op(node, "Softmax"):
        return attribute_of(node, "axis", -1) in (-1, 3)
    if is_op(node, "Add", "Div", "Mul", "Sub"):
        operands = constant_operand(node)
        return operands is not None and scalar_of(operands[0]) is not None
    return is_op(node, "Cast", "Identity")


def _fold(context: _Context, scores: ir.Node, keys: RepeatedRows, last: ir.Node, values: RepeatedRows) -> None:
    """Beams become query rows from `scores` to `last`."""
    graph, q = context.graph, scores.inputs[0]
    unused = [_maker(value) for value in (q, scores.inputs[1], last.inputs[1])]
    transpose = producer(q, "Transpose")
    if transpose is not None and attribute_of(transpose, "perm") == _HEADS_FIRST:
        positions_first = transpose.inputs[0]
    else:
        positions_first = new_op(graph, scores, "Transpose", q, perm=_HEADS_FIRST)
    per_window = new_op(graph, scores, "Reshape", positions_first, _per_window(context, scores, keys))
    scores.replace_input_with(0, new_op(graph, scores, "Transpose", per_window, perm=_HEADS_FIRST))
    scores.replace_input_with(1, _not_repeated(context, scores, keys))
    _forget_shapes(scores, last)

    attended = new_op(graph, last, "MatMul", last.inputs[0], _not_repeated(context, last, values))
    rows = new_op(graph, last, "Transpose", attended, perm=_HEADS_FIRST)
    sizes = _sizes(context, last, positions_first, [0, 1])
    end = add_initializer(graph, "heads_as_they_are", np.asarray([0, 0]))
    per_sequence = new_op(graph, last, "Reshape", rows, new_op(graph, last, "Concat", sizes, end, axis=0))
    following = only_consumer(last.outputs[0])
    if following is not None and is_op(following, "Transpose") and attribute_of(following, "perm") == _HEADS_FIRST:
        replace_value(graph, following.outputs[0], per_sequence)
    else:
        following = last
        replace_value(graph, last.outputs[0], new_op(graph, last, "Transpose", per_sequence, perm=_HEADS_FIRST))
    remove_unused(graph, following, *(node for node in unused if node is not None))


def _broadcast(context: _Context, matmul: ir.Node, keys: RepeatedRows) -> None:
    """The left operand gets an axis of its own for the beams, over which the right one is broadcast."""
    graph, q = context.graph, matmul.inputs[0]
    if keys.unsqueezed is None:
        product = new_op(graph, matmul, "MatMul", q, _not_repeated(context, matmul, keys))
    else:
        free = add_initializer(graph, "beams", np.asarray([-1]))
        sizes = _sizes(context, matmul, q, [1, 2, 3])
        split = new_op(graph, matmul, "Concat", _n_audio(context, matmul, keys), free, sizes, axis=0)
        right = keys.unsqueezed
        if keys.perm is not None:
            perm = [0, 1, *(axis + 1 for axis in keys.perm[1:])]
            right = new_op(graph, matmul, "Transpose", right, perm=perm)
        broadcast = new_op(graph, matmul, "MatMul", new_op(graph, matmul, "Reshape", q, split), right)
        joined = new_op(graph, matmul, "Concat", _sizes(context, matmul, q, [0, 1, 2]), free, axis=0)
        product = new_op(graph, matmul, "Reshape", broadcast, joined)
    replace_value(graph, matmul.outputs[0], product)
    remove_unused(graph, matmul)


def _not_repeated(context: _Context, before: ir.Node, repeated: RepeatedRows) -> ir.Value:
    if repeated.perm is None:
        return repeated.source
    return new_op(context.graph, before, "Transpose", repeated.source, perm=list(repeated.perm))


def _per_window(context: _Context, before: ir.Node, keys: RepeatedRows) -> ir.Value:
    """The shape [n_audio, n_group · n_new, n_head, head_dim] as Reshape wants it: [n_audio, -1, 0, 0]."""
    end = add_initializer(context.graph, "beams_and_heads", np.asarray([-1, 0, 0]))
    return new_op(context.graph, before, "Concat", _n_audio(context, before, keys), end, axis=0)


def _n_audio(context: _Context, before: ir.Node, keys: RepeatedRows) -> ir.Value:
    """The number of windows, [1]; what was computed for an earlier layer is used again."""
    key = context.keys.get(keys.source)
    if key not in context.n_audio:
        context.n_audio[key] = _sizes(context, before, keys.source, [0])
    return context.n_audio[key]


def _sizes(context: _Context, before: ir.Node, value: ir.Value | None, axes: list[int]) -> ir.Value:
    """The lengths of some axes, as a vector that is known when the graph runs."""
    indices = add_initializer(context.graph, "axes", np.asarray(axes))
    return new_op(context.graph, before, "Gather", new_op(context.graph, before, "Shape", value), indices, axis=0)


def _maker(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _forget_shapes(first: ir.Node, last: ir.Node) -> None:
    """What the exporter noted about the values between has the rows of single sequences."""
    node: ir.Node | None = first
    while node is not None and node is not last:
        node.outputs[0].shape = None
        node = only_consumer(node.outputs[0])
