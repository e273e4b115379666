"""Where a graph gives and takes the keys and values of cross-attention, and where a decoder attends to them.

    encoder   … ─► cross_k_0 [n_audio, n_head, head_dim, n_frames], cross_v_0 [n_audio, n_head, n_frames, head_dim]
    decoder   q ─► MatMul(cross_k_0) ─► Softmax ─► MatMul(cross_v_0) ─► y

Keys may also lie as values do; then the product reads them transposed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    input_of,
    is_op,
    only_consumer,
    scalar_of,
    static_dim,
)


@dataclass(frozen=True)
class CrossPair:
    """One layer's keys and values, as inputs or as outputs of a graph."""

    layer: int
    k: ir.Value
    v: ir.Value
    k_is_turned: bool
    """Whether keys lie as [.., head_dim, n_frames] rather than as [.., n_frames, head_dim]."""
    n_head: int
    n_frames: int
    head_dim: int


@dataclass(frozen=True)
class CrossAttention:
    """softmax(scale · q · k) · v."""

    counts: tuple[ir.Node, ...]
    """Shape nodes that count the windows by the pair's first axis."""

    q: ir.Value
    """[n_audio, n_head, n_rows, head_dim]."""
    scale: float
    scores: ir.Node
    output: ir.Node


def cross_pairs(values: Sequence[ir.Value]) -> list[CrossPair]:
    """The pairs of float32 cross_k_i and cross_v_i among inputs or outputs, by layer; others are left out."""
    named = {value.name: value for value in values if value.dtype == ir.DataType.FLOAT}
    pairs = []
    for name, k in named.items():
        found = re.fullmatch(r"cross_k_(\d+)", name or "")
        v = named.get(f"cross_v_{found[1]}") if found else None
        pair = _pair(int(found[1]), k, v) if found and v is not None else None
        if pair is not None:
            pairs.append(pair)
    return sorted(pairs, key=lambda pair: pair.layer)


def _pair(layer: int, k: ir.Value, v: ir.Value) -> CrossPair | None:
    n_head, n_frames, head_dim = (static_dim(v, axis) for axis in (1, 2, 3))
    k_lengths = tuple(static_dim(k, axis) for axis in (1, 2, 3))
    if n_head is None or n_frames is None or head_dim is None or n_frames == head_dim:
        return None
    if k_lengths not in ((n_head, head_dim, n_frames), (n_head, n_frames, head_dim)):
        return None
    return CrossPair(layer, k, v, k_lengths[1] == head_dim, n_head, n_frames, head_dim)


def cross_attention(pair: CrossPair) -> CrossAttention | None:
    """The one attention that reads the pair and hides its weights, or None.

    The query's rows are those of all beams of a window: `broadcast_tile` has folded them together.
    """
    users = [use.node for value in (pair.k, pair.v) for use in value.uses()]
    counts = tuple(node for node in users if counts_windows(node))
    if len(users) != len(counts) + 2:
        return None
    scores, output = (node for node in users if node not in counts)
    if not is_op(output, "MatMul") or input_of(output, 1) is not pair.v:
        return None
    scale = _scale_of_scores(scores, pair)
    softmax = only_consumer(scores.outputs[0])
    if scale is None or softmax is None or not is_op(softmax, "Softmax"):
        return None
    if attribute_of(softmax, "axis", -1) not in (-1, 3) or output.inputs[0] is not softmax.outputs[0]:
        return None
    q = input_of(scores, 0)
    if q is None or only_consumer(softmax.outputs[0]) is not output:
        return None
    return CrossAttention(counts, q, scale, scores, output)


def counts_windows(node: ir.Node) -> bool:
    """Whether all that is read of this Shape is the first length."""
    if not is_op(node, "Shape") or node.outputs[0].is_graph_output():
        return False
    if attribute_of(node, "start", 0) == 0 and attribute_of(node, "end") == 1:
        return True
    readers = [use.node for use in node.outputs[0].uses()]
    return "start" not in node.attributes and all(_gathers_first(reader) for reader in readers)


def _gathers_first(node: ir.Node) -> bool:
    return is_op(node, "Gather") and attribute_of(node, "axis", 0) == 0 and scalar_of(input_of(node, 1)) == 0


def _scale_of_scores(scores: ir.Node, pair: CrossPair) -> float | None:
    """The factor of q · k, or None where `scores` is another product."""
    if input_of(scores, 1) is not pair.k:
        return None
    if is_op(scores, "MatMul"):
        return 1.0 if pair.k_is_turned else None
    if not is_op(scores, "FusedMatMul", domain=MICROSOFT):
        return None
    flags = {flag: attribute_of(scores, flag, 0) for flag in ("transA", "transB", "transBatchA", "transBatchB")}
    wanted = {"transA": 0, "transB": int(not pair.k_is_turned), "transBatchA": 0, "transBatchB": 0}
    return float(attribute_of(scores, "alpha", 1.0)) if flags == wanted else None
