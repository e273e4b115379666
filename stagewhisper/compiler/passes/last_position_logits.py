"""Compute the logits of the last new token only.

    before   x [n_seq, n_new, n_state] ─► LayerNormalization ─► MatMul ─► logits [n_seq, n_new, n_vocab]
    after    x ─► Slice the last token ─► LayerNormalization ─► MatMul ─► logits [n_seq, 1, n_vocab]

A decoding loop reads the last token's logits and no others, and the projection on 51,865 tokens is the largest product
of the decoder: in a prompt call this saves all but one of its rows. The output `logits` gets another shape, so this is
for callers that read its last row: those of the exports that compute all. What comes after the last attention and
before the projection is cut as well, as far as it is a norm or a change of type.

Declines for our own export, whose input `logit_positions` says which logits are wanted; for steps of a fixed number of
tokens; and when the logits are used in the graph.
"""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    attribute_of,
    is_op,
    new_op,
    only_consumer,
    rank_of,
)
from stagewhisper.compiler.trial_lengths import tokens_input, try_lengths

_LOGITS = "logits"
_TO_THE_END = np.iinfo(np.int64).max


def _spread(outputs: Arrays, inputs: Arrays) -> Arrays:
    """Logits of all new tokens, not a number where they are not computed any more."""
    (tokens,) = (array for array in inputs.values() if array.dtype.kind == "i" and array.ndim == 2)
    spread = dict(outputs)
    for name, array in outputs.items():
        if name == _LOGITS:
            padding = np.full((len(array), tokens.shape[1] - 1, array.shape[2]), np.nan, array.dtype)
            spread[name] = np.concatenate([padding, array], axis=1)
    return spread


@declares(adapt_outputs=_spread)
def last_position_logits(graph: ir.Graph) -> int:
    """Cut the input of the vocabulary projection to its last position; returns 1 if it did."""
    logits = next((value for value in graph.outputs if value.name == _LOGITS), None)
    first = None if logits is None else _first_rowwise(logits)
    if logits is None or logits.uses() or first is None or not _has_all_positions(graph, first.inputs[0]):
        return 0
    starts, ends, axes = (
        add_initializer(graph, f"last_position_{name}", np.asarray([number]))
        for name, number in (("start", -1), ("end", _TO_THE_END), ("axis", 1))
    )
    last = new_op(graph, first, "Slice", first.inputs[0], starts, ends, axes, name="last_position")
    first.replace_input_with(0, last)
    _note_one_position(logits, first)
    return 1


def _first_rowwise(logits: ir.Value) -> ir.Node | None:
    """The projection, or the first of the operators before it that treat every position by itself."""
    node = logits.producer()
    while is_op(node, "Cast") and node is not None and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or not _is_projection(node):
        return None
    while (before := _rowwise_before(node)) is not None:
        node = before
    return node


def _is_projection(node: ir.Node) -> bool:
    if is_op(node, "FusedMatMul", domain=MICROSOFT):
        return not attribute_of(node, "transA", 0) and not attribute_of(node, "transBatchA", 0)
    return is_op(node, "MatMul") or is_op(node, "MatMulNBits", domain=MICROSOFT)


def _rowwise_before(node: ir.Node) -> ir.Node | None:
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if value is None or before is None or only_consumer(value) is not node:
        return None
    is_norm = is_op(before, "LayerNormalization") and attribute_of(before, "axis", -1) == -1
    return before if is_norm or is_op(before, "Cast") else None


def _has_all_positions(graph: ir.Graph, value: ir.Value | None) -> bool:
    """Whether `value` is [n_seq, n_new, ..] with a free number of new tokens."""
    tokens = tokens_input(graph)
    if tokens is None or tokens.shape is None or isinstance(tokens.shape[1], int):
        return False
    shapes = [(trial.shape(value), trial.shape(tokens)) for trial in try_lengths(graph)]
    return all(
        shape is not None and given is not None and len(shape) == 3 and shape[:2] == given for shape, given in shapes
    )


def _note_one_position(logits: ir.Value, first: ir.Node) -> None:
    node: ir.Node | None = logits.producer()
    while node is not None and node is not first:
        _forget_shape(node.outputs[0], keep=logits)
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    _forget_shape(first.outputs[0], keep=logits)
    if logits.shape is not None and rank_of(logits) == 3:
        logits.shape = ir.Shape([logits.shape[0], 1, logits.shape[2]])


def _forget_shape(value: ir.Value, *, keep: ir.Value) -> None:
    if value is not keep:
        value.shape = None
