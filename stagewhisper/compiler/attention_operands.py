"""Where the queries, keys and values of an attention block come from: rows that are split into heads, and caches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, is_op, producer, tensor_of
from stagewhisper.compiler.trial_lengths import Trial


@dataclass(frozen=True)
class Cache:
    """Keys or values of earlier calls, [n_seq, n_head, n_past or the buffer's length, head_dim]."""

    past: ir.Value
    present: ir.Value
    """The same with the new ones."""
    n_past: ir.Value | None
    """How much of a buffer is filled; None if all of `past` is, which grows."""


@dataclass(frozen=True)
class Operand:
    """One of queries, keys and values."""

    heads: ir.Value
    """[n_seq, n_head, n, head_dim]; if `turned_heads`, [n_seq, n_head, head_dim, n]."""
    turned_heads: bool
    rows: ir.Value | None
    """[n_seq, n, n_state], which the heads were split from; of a cache, the new ones. None if they come in heads."""
    scale: float
    """What they are multiplied by behind `rows`, or behind `heads`."""
    cache: Cache | None = None


def heads_of(value: ir.Value | None, trials: Sequence[Trial], *, turned: bool = False) -> Operand | None:
    """What goes into a MatMul over heads, followed back to its rows, to a cache, or as far as it is understood.

    `turned` says that the MatMul reads it as [n_seq, n_head, head_dim, n]. None where that cannot be.
    """
    scale = 1.0
    while value is not None and (node := value.producer()) is not None:
        factor = scaled(node, trials)
        before = node.inputs[0] if node.inputs else None
        if factor is not None:
            value, scale = factor[0], scale * factor[1]
        elif _copies(node) or (is_op(node, "Reshape") and same_shape(before, value, trials)):
            value = before
        elif is_op(node, "Transpose") and attribute_of(node, "perm") == [0, 1, 3, 2]:
            value, turned = before, not turned
        elif (flat := _turned_flat(node, trials)) is not None:
            value, turned = flat, not turned
        else:
            break
    if value is None:
        return None
    cached = _cached(value, trials)
    if cached is not None:
        rows, cache = cached
        return None if turned else Operand(value, False, rows, scale, cache)
    split = _split(value, trials)
    if split is None:
        return Operand(value, turned, None, scale)
    rows, turned_heads = split
    while (factor := scaled(rows.producer(), trials)) is not None:
        rows, scale = factor[0], scale * factor[1]
    return Operand(value, turned, rows, scale) if turned == turned_heads else None


def scaled(node: ir.Node | None, trials: Sequence[Trial]) -> tuple[ir.Value, float] | None:
    """(x, number) if the node multiplies x by a number that is the same at all lengths."""
    if node is None or not is_op(node, "Mul", "Div"):
        return None
    for x, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        numbers = [trial.array(other) for trial in trials]
        found = {float(number.reshape(())) for number in numbers if number is not None and number.size == 1}
        if x is None or len(found) != 1 or any(number is None or number.size != 1 for number in numbers):
            continue
        number = found.pop()
        if is_op(node, "Mul"):
            return x, number
        return (x, 1 / number) if x is node.inputs[0] and number else None
    return None


def same_shape(before: ir.Value | None, after: ir.Value, trials: Sequence[Trial]) -> bool:
    """Whether both have the same lengths, at all lengths that are tried."""
    return all(trial.shape(before) is not None and trial.shape(before) == trial.shape(after) for trial in trials)


def float_type(value: ir.Value | None) -> ir.DataType | None:
    """The type of an activation, from the nearest weight, Cast or input that tells; None if none does."""
    waiting, seen = [value], set()
    for current in waiting:  # grows while it runs: the nearest first
        if current is None or current in seen:
            continue
        seen.add(current)
        tensor, node = tensor_of(current), current.producer()
        dtype = current.dtype if tensor is None else tensor.dtype
        if node is not None and is_op(node, "Cast"):
            dtype = ir.DataType(attribute_of(node, "to"))
        if dtype is not None and dtype.is_floating_point():
            return dtype
        if node is not None:
            waiting += node.inputs[::-1]  # the weight before the activation
    return None


def _copies(node: ir.Node) -> bool:
    return is_op(node, "Identity") or (is_op(node, "Concat") and len(node.inputs) == 1)


def _turned_flat(node: ir.Node, trials: Sequence[Trial]) -> ir.Value | None:
    """x, if the node's output is x with its last two axes exchanged: torch writes Reshape ─► Transpose ─► Reshape."""
    exchange = producer(node.inputs[0] if is_op(node, "Reshape") else None, "Transpose")
    flatten = producer(exchange.inputs[0] if exchange is not None else None, "Reshape")
    if exchange is None or flatten is None or attribute_of(exchange, "perm") != [0, 2, 1]:
        return None
    for trial in trials:
        x, flat, out = (trial.shape(value) for value in (flatten.inputs[0], flatten.outputs[0], node.outputs[0]))
        if x is None or len(x) != 4 or flat != (x[0] * x[1], x[2], x[3]) or out != (*x[:2], x[3], x[2]):
            return None
    return flatten.inputs[0]


def _split(value: ir.Value, trials: Sequence[Trial]) -> tuple[ir.Value, bool] | None:
    """(rows, turned) if `value` is rows [n_seq, n, n_state] split into heads."""
    turn = producer(value, "Transpose")
    perm = attribute_of(turn, "perm") if turn is not None else None
    reshape = producer(turn.inputs[0] if turn is not None else None, "Reshape")
    if reshape is None or perm not in ([0, 2, 1, 3], [0, 2, 3, 1]):
        return None
    rows = reshape.inputs[0]
    for trial in trials:
        flat, split = trial.shape(rows), trial.shape(reshape.outputs[0])
        if flat is None or split is None or len(split) != 4 or flat != (*split[:2], split[2] * split[3]):
            return None
    return None if rows is None else (rows, perm == [0, 2, 3, 1])


def _cached(value: ir.Value, trials: Sequence[Trial]) -> tuple[ir.Value, Cache] | None:
    """(new rows, cache) if `value` is past keys with new ones behind them, growing or in a buffer."""
    concat = producer(value, "Concat")
    if concat is not None:
        past, new = concat.inputs if len(concat.inputs) == 2 else (None, None)
        present, n_past = value, None
        if attribute_of(concat, "axis") not in (2, -2):
            return None
    else:
        window = producer(value, "Slice")
        scatter = producer(window.inputs[0] if window is not None else None, "ScatterND")
        n_past = _filled_from_start(window, scatter, trials) if window is not None and scatter is not None else None
        if scatter is None or n_past is None:
            return None
        past, _, new = scatter.inputs
        present = scatter.outputs[0]
    split = _split(new, trials) if new is not None else None
    if past is None or split is None or split[1] or not all(_follows(past, new, value, trial) for trial in trials):
        return None
    return split[0], Cache(past, present, n_past)


def _follows(past: ir.Value, new: ir.Value | None, total: ir.Value, trial: Trial) -> bool:
    """Whether `total` has as many positions as there were before and come now."""
    old, added, whole = trial.shape(past), trial.shape(new), trial.shape(total)
    if old is None or added is None or whole is None or len(old) != 4:
        return False
    lengths_fit = whole[2] == trial.lengths.n_past + added[2] and old[2] >= trial.lengths.n_past
    return lengths_fit and old[:2] == added[:2] == whole[:2] and old[3] == added[3] == whole[3]


def _filled_from_start(window: ir.Node, scatter: ir.Node, trials: Sequence[Trial]) -> ir.Value | None:
    """The graph's input n_past, if the new positions are written from there on and all up to them are read."""
    for trial in trials:
        new, indices = trial.shape(scatter.inputs[2]), trial.array(scatter.inputs[1])
        start, *rest = (trial.array(given) for given in window.inputs[1:])
        axes, steps = (rest[1] if len(rest) > 1 else None), (rest[2] if len(rest) > 2 else None)
        if new is None or indices is None or start is None or axes is None:
            return None
        grid = np.moveaxis(np.indices(new[:3]), 0, -1) + np.array([0, 0, trial.lengths.n_past])
        whole = start.tolist() == [0] and axes.tolist() in ([2], [-2]) and (steps is None or steps.tolist() == [1])
        if not whole or indices.shape != grid.shape or (indices != grid).any():
            return None
    return trials[0].n_past if trials else None
