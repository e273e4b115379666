"""A MatMul reads its operand as it lies in memory, turned over by a flag.

    k [n, 8, 448, 64] ─► Transpose [0, 1, 3, 2] ─► MatMul   →   k ─► FusedMatMul(transB=1)

    perm of an operand, rank r             flags of FusedMatMul
    0 … r-3, r-1, r-2                      trans
    1 … r-2, 0, r-1                        transBatch             rows outermost: [rows, batch …, k]
    1 … r-2, r-1, 0                        transBatch and trans

Never slower on ONNX Runtime's CPU kernel, which gives both flags to the matrix product as strides: a constant right
operand is packed once when the model is loaded, turned or not; another one is packed at each call anyway, and for a
single row there is a kernel of its own for either layout. Declines therefore where a left operand of more than two
axes meets a matrix: as it is, all its rows are one product, and turned over they would be one product each batch.
Declines for types other than float32, which have no such kernel.

Source: ONNX Runtime 1.31, core/providers/cpu/math/matmul.cc and matmul_helper.h, core/mlas/lib/sgemm.cpp.
"""

from typing import Any

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    is_op,
    new_op,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, note_shape
from stagewhisper.compiler.transposes.permutations import Permutation, permutation_of

_SIDES = ("A", "B")


def absorb(graph: ir.Graph, transpose: ir.Node, shapes: InferredShapes) -> int:
    """1 if all readers of this Transpose are products that take it over."""
    perm, result, source = permutation_of(transpose, shapes), transpose.outputs[0], transpose.inputs[0]
    if perm is None or source is None or not takes(result, perm, shapes):
        return 0
    for reader in {use.node: None for use in result.uses()}:
        flags = _flags(reader)
        for side, operand in zip(_SIDES, reader.inputs, strict=True):
            if operand is result:
                flags |= _after(flags, side, perm) or {}
        inputs = [source if operand is result else operand for operand in reader.inputs]
        kept: dict[str, Any] = {name: flag for name, flag in flags.items() if flag}
        kept["alpha"] = attribute_of(reader, "alpha")
        product = new_op(graph, reader, "FusedMatMul", *inputs, domain=MICROSOFT, **kept)
        note_shape(product, shapes, like=reader.outputs[0])
        replace_value(graph, reader.outputs[0], product)
        graph.remove(reader, safe=True)
    remove_unused(graph, transpose)
    return 1


def takes(value: ir.Value, perm: Permutation, shapes: InferredShapes) -> bool:
    """Whether all readers of `value` are products that can read it before it was transposed by `perm`."""
    uses = value.uses()
    if not uses or value.is_graph_output():
        return False
    return all(_takes(use.node, use.idx, perm, shapes) for use in uses)


def _takes(node: ir.Node, index: int, perm: Permutation, shapes: InferredShapes) -> bool:
    if not is_op(node, "MatMul") and not is_op(node, "FusedMatMul", domain=MICROSOFT):
        return False
    if any(shapes.dtype(operand) != ir.DataType.FLOAT for operand in node.inputs):
        return False
    left, right = (shapes.rank(operand) for operand in node.inputs)
    flags = _after(_flags(node), _SIDES[index], perm)
    if flags is None or left is None or right is None:
        return False
    if flags["transBatchA"] or flags["transBatchB"]:
        return left == right and left > 2
    return not (flags["transA"] and left > 2 and right <= 2)


def _flags(node: ir.Node) -> dict[str, int]:
    names = [f"{kind}{side}" for kind in ("trans", "transBatch") for side in _SIDES]
    return {name: int(attribute_of(node, name, 0)) for name in names}


def _after(flags: dict[str, int], side: str, perm: Permutation) -> dict[str, int] | None:
    """The flags with a Transpose before operand `side` taken in; None where flags cannot say that."""
    rank = len(perm)
    middle, last = tuple(range(1, rank - 1)), rank - 1
    trans, batch = f"trans{side}", f"transBatch{side}"
    if perm == (*range(rank - 2), last, rank - 2):
        if rank > 2 and flags[batch]:
            return None
        return flags | {trans: 1 - flags[trans]}
    if rank < 3 or flags[batch] or flags[trans]:
        return None
    if perm == (*middle, 0, last):
        return flags | {batch: 1}
    if perm == (*middle, last, 0):
        return flags | {batch: 1, trans: 1}
    return None
