"""Fuse the decoder's attention to the audio, in which beams are rows already, into MultiHeadAttention.

    decoder
    before   q [n_seq, n_new, n_state] ─► Mul √ ─► split ─► [n_audio, n_group · n_new, n_head, head_dim] ─► Transpose
             ─► MatMul(cross_k) ─► Softmax ─► MatMul(cross_v) ─► Transpose ─► Reshape, merged
    after    q ─► Reshape [n_audio, n_group · n_new, n_state] ─► MultiHeadAttention(cross_k, cross_v; scale) ─► Reshape

    encoder, and the decoder's input
    before   cross_k [n_audio, n_head, head_dim, n_frames]
    after    cross_k [n_audio, n_head, n_frames, head_dim], as cross_v lies

The operator reads heads from rows and merges them again: a window's rows lie side by side, whoever's beams they are, so
two Reshapes, which move nothing, take the place of two Transposes. Run it after `broadcast_tile`, and on both graphs.
`fuse_attention(cross_attention=True)` is for graphs in which every sequence has keys and values of its own.

Declines for graphs without pairs of cross_k_i and cross_v_i, and where those are not float32: `quantize_cross_kv` has
an operator of its own. Keys change their layout all the same where a decoder attends in another form (weights that are
read elsewhere); that form then reads them through a Transpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.attention_operands import scaled
from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.cross_attention import (
    CrossAttention,
    CrossPair,
    counts_windows,
    cross_attention,
    cross_pairs,
)
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    attribute_of,
    input_of,
    is_op,
    new_op,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.trial_lengths import Trial, try_lengths

_HEADS_FIRST = [0, 2, 1, 3]
_TURNED = [0, 1, 3, 2]


def _turn_inputs(inputs: Arrays, graph: ir.Graph) -> Arrays:
    """Keys as the graph takes them now: views, for windows are large and cases many."""
    shapes = {value.name: value.shape for value in graph.inputs}
    return {name: _fitting(array, shapes.get(name)) for name, array in inputs.items()}


def _turn_outputs(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001  the signature of all adapters
    """Keys as the encoder gave them before."""
    return {name: array.swapaxes(2, 3) if name.startswith("cross_k_") else array for name, array in outputs.items()}


def _fitting(array: np.ndarray, shape: ir.Shape | None) -> np.ndarray:
    is_turned = shape is not None and array.ndim == len(shape) == 4 and array.shape[2:] == (shape[3], shape[2])
    return array.swapaxes(2, 3) if is_turned else array


@declares(adapt_inputs=_turn_inputs, adapt_outputs=_turn_outputs)
def fuse_cross_attention(graph: ir.Graph) -> int:
    """Fuse attention to the audio into MultiHeadAttention; returns how many there were, and how many keys turned."""
    given = [pair for pair in cross_pairs(graph.outputs) if pair.k_is_turned]
    for pair in given:
        _give_rows(graph, pair)
    taken = cross_pairs(graph.inputs)
    rows = _Rows(try_lengths(graph) if taken else ())
    return len(given) + sum(_take_rows(graph, pair, rows) for pair in taken)


def _give_rows(graph: ir.Graph, pair: CrossPair) -> None:
    """The encoder's keys with frames before channels."""
    old, name, shape = pair.k, pair.k.name or "", list(pair.k.shape or ())
    place = next(index for index, output in enumerate(graph.outputs) if output is old)
    turn = producer(old, "Transpose")
    source, perm = (old, [0, 1, 2, 3]) if turn is None else (turn.inputs[0], attribute_of(turn, "perm"))
    node = ir.node("Transpose", [source], {"perm": [perm[axis] for axis in _TURNED]})
    graph.append(node)
    graph.outputs[place] = node.outputs[0]
    old.name = f"{name}_turned"
    new = node.outputs[0]
    new.name, new.dtype, new.shape = name, ir.DataType.FLOAT, ir.Shape([shape[axis] for axis in _TURNED])
    if turn is not None:
        remove_unused(graph, turn)


@dataclass
class _Rows:
    """What all layers share."""

    trials: Sequence[Trial]
    sizes: dict[tuple[object, ...], ir.Value] = field(default_factory=dict)
    """[n_seq, n_new] by what they are at every length that was tried."""
    targets: dict[tuple[ir.Value, int], ir.Value] = field(default_factory=dict)
    """Targets of Reshape, by their free lengths and the width of a row."""


@dataclass(frozen=True)
class _Folded:
    """The nodes around an attention whose rows are those of all beams of a window."""

    q: ir.Value
    """[n_seq, n_new, ..]: one or two axes of channels."""
    scale: float
    n_audio: ir.Value
    """[1]"""
    result: ir.Value
    """[n_seq, n_new, n_state]"""


def _take_rows(graph: ir.Graph, pair: CrossPair, rows: _Rows) -> int:
    """One for keys that turned, one for the operator."""
    attention = cross_attention(pair)
    folded = None if attention is None else _folded(attention, rows.trials)
    if attention is not None and folded is not None:
        _fuse(graph, pair, attention, folded, rows)
    if pair.k_is_turned:
        _turn_input(graph, pair)
    return int(pair.k_is_turned) + int(folded is not None)


def _turn_input(graph: ir.Graph, pair: CrossPair) -> None:
    """The decoder's keys with frames before channels; who still wants them turned reads a Transpose."""
    readers = [use for use in pair.k.uses() if not counts_windows(use.node) and not _reads_rows(use.node)]
    shape = list(pair.k.shape or ())
    pair.k.shape = ir.Shape([shape[axis] for axis in _TURNED])
    if readers:
        first = next(node for node in graph if any(use.node is node for use in readers))
        turned = new_op(graph, first, "Transpose", pair.k, perm=_TURNED)
        for use in readers:
            use.node.replace_input_with(use.idx, turned)


def _reads_rows(node: ir.Node) -> bool:
    return is_op(node, "MultiHeadAttention", domain=MICROSOFT)


def _folded(attention: CrossAttention, trials: Sequence[Trial]) -> _Folded | None:
    """What `broadcast_tile` makes, and nothing else."""
    into = producer(attention.q, "Transpose")
    fold = None if into is None or attribute_of(into, "perm") != _HEADS_FIRST else producer(into.inputs[0], "Reshape")
    target = None if fold is None else producer(input_of(fold, 1), "Concat")
    result = _merged(attention, trials)
    if fold is None or target is None or result is None or only_consumer(attention.q) is None:
        return None
    q, n_audio = fold.inputs[0], target.inputs[0]
    counted = [trial.array(n_audio) for trial in trials]
    if q is None or n_audio is None or any(array is None or array.shape != (1,) for array in counted):
        return None
    q, scale = _before_split(q, trials), attention.scale
    factor = scaled(q.producer(), trials)
    if factor is not None and all(use.node is fold or not _computes(use.node) for use in q.uses()):
        q, scale = factor[0], scale * factor[1]
    if not _same_rows(q, result, trials):
        return None
    return _Folded(q, scale, n_audio, result)


def _before_split(q: ir.Value, trials: Sequence[Trial]) -> ir.Value:
    """The rows that a Reshape splits into heads."""
    split = producer(q, "Reshape")
    rows = None if split is None else split.inputs[0]
    return rows if rows is not None and _same_rows(rows, q, trials) else q


def _same_rows(one: ir.Value, other: ir.Value, trials: Sequence[Trial]) -> bool:
    """Whether both have the same two first lengths, and the same number of elements behind them."""
    for trial in trials:
        left, right = trial.shape(one), trial.shape(other)
        if left is None or right is None or left[:2] != right[:2] or np.prod(left[2:]) != np.prod(right[2:]):
            return False
    return True


def _computes(node: ir.Node) -> bool:
    return not is_op(node, "Reshape", "Shape")


def _merged(attention: CrossAttention, trials: Sequence[Trial]) -> ir.Value | None:
    """The rows of sequences that come of the attention, heads merged."""
    turn = only_consumer(attention.output.outputs[0])
    if turn is None or not is_op(turn, "Transpose") or attribute_of(turn, "perm") != _HEADS_FIRST:
        return None
    value = turn.outputs[0]
    while (node := only_consumer(value)) is not None and is_op(node, "Reshape"):
        value = node.outputs[0]
    ranks = {None if (shape := trial.shape(value)) is None else len(shape) for trial in trials}
    return value if ranks == {3} else None


def _fuse(graph: ir.Graph, pair: CrossPair, attention: CrossAttention, folded: _Folded, rows: _Rows) -> None:
    before, n_state = attention.scores, pair.n_head * pair.head_dim
    sizes = _sizes(graph, before, folded, rows)
    free = add_initializer(graph, "beams", np.asarray([-1]))
    per_window = _target(graph, before, rows, folded.n_audio, n_state, free=free)
    q = new_op(graph, before, "Reshape", folded.q, per_window)
    attended = new_op(
        graph,
        before,
        "MultiHeadAttention",
        q,
        pair.k,
        pair.v,
        domain=MICROSOFT,
        num_heads=pair.n_head,
        scale=folded.scale,
    )
    per_sequence = _target(graph, before, rows, sizes, n_state)
    result = new_op(graph, before, "Reshape", attended, per_sequence)
    last = folded.result.producer()
    replace_value(graph, folded.result, result)
    if last is not None:
        remove_unused(graph, last)


def _sizes(graph: ir.Graph, before: ir.Node, folded: _Folded, rows: _Rows) -> ir.Value:
    """[n_seq, n_new], computed once for all layers in which they are the same."""
    key = tuple(None if (shape := trial.shape(folded.q)) is None else shape[:2] for trial in rows.trials)
    if key not in rows.sizes:
        rows.sizes[key] = new_op(graph, before, "Shape", folded.q, start=0, end=2)
    return rows.sizes[key]


def _target(
    graph: ir.Graph, before: ir.Node, rows: _Rows, lengths: ir.Value, n_state: int, *, free: ir.Value | None = None
) -> ir.Value:
    """The target of a Reshape: `lengths`, then the free one if there is one, then the width of a row."""
    if (lengths, n_state) not in rows.targets:
        width = add_initializer(graph, "row_width", np.asarray([n_state]))
        parts = [lengths, *([] if free is None else [free]), width]
        rows.targets[lengths, n_state] = new_op(graph, before, "Concat", *parts, axis=0)
    return rows.targets[lengths, n_state]
