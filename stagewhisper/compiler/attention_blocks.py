"""Find where a graph computes attention, as MatMul ─► Softmax ─► MatMul, in whatever words an exporter chose.

    q rows ─► split into heads ─► · scale ─┐
    k rows ─► split ─► (Concat with past) ─► turned ─┴► MatMul ─► + mask ─► Softmax ─┐
    v rows ─► split ─► (Concat with past) ───────────────────────────────────────────┴► MatMul ─► merge heads

The structure is read from the nodes; that the shapes, the mask and the places that a cache is written at are what they
look like is tried out at several lengths (see `trial_lengths.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.attention_operands import Operand, float_type, heads_of, same_shape, scaled
from stagewhisper.compiler.graph_tools import attribute_of, input_of, is_op, nodes_of, only_consumer, producer
from stagewhisper.compiler.trial_lengths import Trial, try_lengths

_HIDDEN = -1e4
"""Scores that are lowered at least so far weigh nothing after the softmax."""


@dataclass(frozen=True)
class AttentionBlock:
    """softmax(scale · q·kᵀ + mask)·v with its heads merged again."""

    query: Operand
    key: Operand
    value: Operand
    n_head: int
    head_dim: int
    dtype: ir.DataType | None
    """Of queries, keys and values; None if unknown."""
    lengths: tuple[tuple[int, int, int], ...]
    """(n_seq, n_query, n_key) at every length that was tried: two blocks with the same see the same positions."""
    scale: float
    sees: str
    """Which keys a query sees: "all", those up to its own position ("causal"), or "other" ones.

    "newest": there is one query at a time and it sees all, which are those up to its own position.
    """
    output: ir.Value
    """[n_seq, n_query, n_state]"""

    @property
    def cached(self) -> bool:
        """Whether keys and values of earlier calls come before the new ones."""
        return self.key.cache is not None

    @property
    def new_only(self) -> bool:
        """Whether the keys are those of the queries' own positions and no others."""
        return not self.cached and all(n_query == n_key for _, n_query, n_key in self.lengths)


@dataclass(frozen=True)
class _Sizes:
    n_seq: int
    n_head: int
    n_query: int
    n_key: int
    head_dim: int


def attention_blocks(graph: ir.Graph) -> list[AttentionBlock]:
    """The graph's attention blocks in order; what is written in another way is left out."""
    softmaxes = [node for node in nodes_of(graph, "Softmax") if attribute_of(node, "axis", -1) in (-1, 3)]
    trials = try_lengths(graph) if softmaxes else ()
    found = (_attention_block(node, trials) for node in softmaxes)
    return [block for block in found if block is not None]


def _attention_block(softmax: ir.Node, trials: Sequence[Trial]) -> AttentionBlock | None:
    weighted, output = _product_with_values(softmax), None
    if weighted is not None:
        output = _merged(weighted.outputs[0], trials)
    found = _scores(softmax.inputs[0], trials)
    if weighted is None or output is None or found is None:
        return None
    product, mask, scale = found
    query, value = heads_of(product.inputs[0], trials), heads_of(weighted.inputs[1], trials)
    key = heads_of(product.inputs[1], trials, turned=True)
    if query is None or key is None or value is None or query.rows is None or query.cache is not None:
        return None
    if value.scale != 1 or value.turned_heads or not _alike(key, value):
        return None
    sizes = [size for trial in trials if (size := _sizes(query, key, value, output, trial)) is not None]
    if len(sizes) < len(trials) or len({(size.n_head, size.head_dim) for size in sizes}) != 1:
        return None
    return AttentionBlock(
        query=query,
        key=key,
        value=value,
        n_head=sizes[0].n_head,
        head_dim=sizes[0].head_dim,
        dtype=float_type(query.rows),
        lengths=tuple((size.n_seq, size.n_query, size.n_key) for size in sizes),
        scale=scale * query.scale * key.scale,
        sees=_sees(mask, softmax.inputs[0], trials),
        output=output,
    )


def _product_with_values(softmax: ir.Node) -> ir.Node | None:
    """The MatMul that weighs the values; a guard against rows of NaN, which hide all keys, may stand before it."""
    probabilities = softmax.outputs[0]
    users = [use.node for use in probabilities.uses()]
    guards = [node for node in users if is_op(node, "Where") and input_of(node, 2) is probabilities]
    if len(users) == 2 and len(guards) == 1 and producer(guards[0].inputs[0], "IsNaN") in users:
        probabilities = guards[0].outputs[0]
    while (node := only_consumer(probabilities)) is not None and is_op(node, "Cast"):
        probabilities = node.outputs[0]
    return node if node is not None and is_op(node, "MatMul") and node.inputs[0] is probabilities else None


def _scores(value: ir.Value | None, trials: Sequence[Trial]) -> tuple[ir.Node, ir.Value | None, float] | None:
    """(q·kᵀ, mask, scale) of what goes into the softmax, none of which is used elsewhere."""
    mask, total = None, 1.0
    while value is not None and (node := value.producer()) is not None and only_consumer(value) is not None:
        if is_op(node, "MatMul"):
            return node, mask, total
        scale = scaled(node, trials)
        if scale is not None:
            value, total = scale[0], total * scale[1]
        elif is_op(node, "Cast"):
            value = node.inputs[0]
        elif is_op(node, "Add") and mask is None:
            known = [trials[0].array(given) is not None for given in node.inputs]
            if known[0] == known[1]:
                return None
            mask, value = node.inputs if known[0] else node.inputs[::-1]
        else:
            return None
    return None


def _merged(value: ir.Value, trials: Sequence[Trial]) -> ir.Value | None:
    """[n_seq, n_query, n_state] that the heads' results are put together to."""
    while (node := _only_reader(value)) is not None and is_op(node, "Reshape", "Identity"):
        if not same_shape(value, node.outputs[0], trials):
            return None
        value = node.outputs[0]
    if node is None or not is_op(node, "Transpose") or attribute_of(node, "perm") != [0, 2, 1, 3]:
        return None
    merge = _only_reader(node.outputs[0])
    if merge is None or not is_op(merge, "Reshape"):
        return None
    for trial in trials:
        heads, rows = trial.shape(node.outputs[0]), trial.shape(merge.outputs[0])
        if heads is None or rows != (*heads[:2], heads[2] * heads[3]):
            return None
    return merge.outputs[0]


def _only_reader(value: ir.Value) -> ir.Node | None:
    """The only node that uses the value's numbers; others may ask for its shape, as exporters do."""
    readers = [use.node for use in value.uses() if not is_op(use.node, "Shape")]
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def _alike(key: Operand, value: Operand) -> bool:
    """Whether keys and values come in the same way: both cached or neither, in rows or in heads."""
    if key.cache is None or value.cache is None:
        return key.cache is value.cache and (key.rows is None) == (value.rows is None)
    return key.cache.n_past is value.cache.n_past


def _sizes(query: Operand, key: Operand, value: Operand, output: ir.Value, trial: Trial) -> _Sizes | None:
    """The block's lengths in one try, if all that meets in it has the shape that it should have."""
    q, k, v, out = (trial.shape(given) for given in (query.heads, key.heads, value.heads, output))
    if q is None or k is None or v is None or len(q) != 4 or len(k) != 4:
        return None
    n_seq, n_head, n_query, head_dim = q
    k = (*k[:2], k[3], k[2]) if key.turned_heads else k
    if k != v or k[:2] != (n_seq, n_head) or k[3] != head_dim or out != (n_seq, n_query, n_head * head_dim):
        return None
    return _Sizes(n_seq=n_seq, n_head=n_head, n_query=n_query, n_key=k[2], head_dim=head_dim)


def _sees(mask: ir.Value | None, scores: ir.Value | None, trials: Sequence[Trial]) -> str:
    views = {_view(mask, scores, trial) for trial in trials}
    steady = views - {"newest"} or {"newest"}
    return steady.pop() if len(steady) == 1 else "other"


def _view(mask: ir.Value | None, scores: ir.Value | None, trial: Trial) -> str:
    shape, hidden = trial.shape(scores), trial.array(mask)
    if shape is None or (mask is not None and hidden is None):
        return "other"
    n_query, n_key = shape[-2:]
    visible = np.ones(shape, bool)
    if hidden is not None:
        if not ((hidden == 0) | (hidden <= _HIDDEN)).all():
            return "other"
        visible &= hidden == 0
    if visible.all():
        return "newest" if n_query == 1 else "all"
    return "causal" if (visible == np.tri(n_query, n_key, n_key - n_query, dtype=bool)).all() else "other"
