"""Remove Transposes, or have something do their work that does it for nothing.

                 before                                       after
    cancel       x ─► Transpose ─► inverse ─► y               x ─► y
    merge        x ─► Transpose ─► Transpose ─► y             x ─► Transpose ─► y
    push down    x ─► Transpose ─► Mul ─► Transpose ─► y      x ─► Mul ─► Transpose ─► y, and merged
    weights      weight ─► Transpose ─► y                     the weight turned over when the graph is saved
    absorb       k ─► Transpose ─► MatMul                     k ─► FusedMatMul(transB=1)
    unit axes    [n, 1, 8, 64] ─► Transpose                   Reshape, which moves nothing

The rules are in `compiler/transposes`. They run until none applies; each one makes Transposes fewer.

What stays on Whisper are the splits of heads, [n, n_new, 8, 64] → [n, 8, n_new, 64], and their way back. Our decoder
serves prompts (many new tokens) and steps (one), and only for one are they free: ONNX Runtime then copies the tensor
as it lies. A graph whose number of new tokens is fixed at one loses them all here. In the graph for both, attention
operators take them in, since their kernels read heads from rows: fuse attention first.

Caches need no other layout here: keys lie as [n, 8, n_past, 64], which attention operators want, and which transB reads
without the Transpose of the whole cache in each step.

A tied embedding, which is read by rows at one end and as the right operand at the other, is not stored twice: transB
reads it as it is. Passes that look for a MatMul by a weight find a FusedMatMul then: quantise first.
"""

from functools import partial

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import nodes_of
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes
from stagewhisper.compiler.transposes.elementwise import ELEMENTWISE, push_down
from stagewhisper.compiler.transposes.matmul import absorb, takes
from stagewhisper.compiler.transposes.merging import merge, reshape_instead
from stagewhisper.compiler.transposes.weights import turn_weight


def eliminate_transposes(graph: ir.Graph, *, fuse_into_matmul: bool = True) -> int:
    """Make Transposes fewer; returns how often a rule did.

    `fuse_into_matmul` allows FusedMatMul, an operator of ONNX Runtime.
    """
    total = 0
    while rewritten := _sweep(graph, infer_shapes(graph), fuse_into_matmul):
        total += rewritten
    return total


def _sweep(graph: ir.Graph, shapes: InferredShapes, fuse_into_matmul: bool) -> int:
    """Every rule once, at every node that was there before; what is new has no known shape yet."""
    rules = [merge, turn_weight, *([absorb] if fuse_into_matmul else []), reshape_instead]
    rewritten = 0
    for rule in rules:
        rewritten += sum(rule(graph, node, shapes) for node in nodes_of(graph, "Transpose"))
        if rewritten:
            return rewritten  # a Transpose that merges or cancels must not become a flag or a Reshape first
        if rule is merge:
            rewritten += _push_down(graph, shapes, fuse_into_matmul)
            if rewritten:
                return rewritten
    return rewritten


def _push_down(graph: ir.Graph, shapes: InferredShapes, fuse_into_matmul: bool) -> int:
    """From the graph's end, so that a Transpose goes as far as it can in one go."""
    swallows = partial(takes, shapes=shapes) if fuse_into_matmul else _never
    nodes = reversed(tuple(nodes_of(graph, *ELEMENTWISE)))
    return sum(push_down(graph, node, shapes, takes=swallows) for node in nodes if node.graph is graph)


def _never(value: ir.Value, perm: tuple[int, ...]) -> bool:  # noqa: ARG001  the signature of `takes`
    return False
