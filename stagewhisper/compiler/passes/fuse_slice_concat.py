"""Undo what is cut and joined without need.

                        before                                     after
    slice of concat     a, b ─► Concat ─► Slice [len(a):]          b
    split of concat     a, b ─► Concat ─► Split ─► y, z            a, b
    concat of slices    x ─┬► Slice [:3] ─┬► Concat ─► y           x
                           └► Slice [3:] ─┘
    concat of split     x ─► Split ─► Concat ─► y                  x
    slices that tile    qkv ─► three Slices ─► q, k, v             qkv ─► Split ─► q, k, v
    slice of all        x ─► Slice [0:] ─► y                       x

Bounds are constants that fall between operands, or, in a Slice of a Concat, the length of the first operand read from
its Shape while the graph runs. Declines for steps other than one, several axes at once, bounds inside an operand, and
where an output of the graph would only become an Identity. Three products of one input are `pack_qkv`'s.
"""

from itertools import pairwise

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    input_of,
    is_constant,
    new_node,
    new_op,
    nodes_of,
    producer,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes
from stagewhisper.compiler.slices import Cut, axis_of, cut_of, operands_before, split_lengths

_SPLIT_BY_INPUT = 13
"""The first opset in which Split takes its lengths as an input."""


def fuse_slice_concat(graph: ir.Graph) -> int:
    """Undo cutting and joining; returns how many Slices, Splits and Concats were replaced."""
    total = 0
    while rewritten := _sweep(graph, infer_shapes(graph)):
        total += rewritten
    return total


def _sweep(graph: ir.Graph, shapes: InferredShapes) -> int:
    rewritten = sum(_fuse_slice(graph, node, shapes) for node in nodes_of(graph, "Slice"))
    rewritten += sum(_fuse_split(graph, node, shapes) for node in nodes_of(graph, "Split"))
    rewritten += sum(_fuse_concat(graph, node, shapes) for node in nodes_of(graph, "Concat"))
    return rewritten or _split_instead(graph, shapes)


def _fuse_slice(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if it cut nothing off, or cut a Concat where it was joined."""
    cut = cut_of(node, shapes)
    if cut is None:
        return 0
    if cut.covers_all():
        return _replace(graph, node, cut.source)
    concat = producer(cut.source, "Concat")
    if concat is None or axis_of(concat, shapes) != cut.axis:
        return 0
    operands = [value for value in concat.inputs if value is not None]
    first = operands_before(input_of(node, 1), operands, cut.axis, shapes)
    last = operands_before(input_of(node, 2), operands, cut.axis, shapes)
    if first is None or last is None or last <= first:
        return 0
    if last - first == 1:
        return _replace(graph, node, operands[first])
    return _replace(graph, node, new_op(graph, node, "Concat", *operands[first:last], axis=cut.axis))


def _fuse_split(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if it cut a Concat where it was joined."""
    concat, axis = producer(node.inputs[0], "Concat"), axis_of(node, shapes)
    if concat is None or axis is None or axis_of(concat, shapes) != axis:
        return 0
    operands = [value for value in concat.inputs if value is not None]
    if [shapes.length(operand, axis) for operand in operands] != split_lengths(node, shapes):
        return 0
    if not all(_may_replace(old, new) for old, new in zip(node.outputs, operands, strict=True)):
        return 0
    for old, new in zip(node.outputs, operands, strict=True):
        replace_value(graph, old, new)
    remove_unused(graph, node)
    return 1


def _fuse_concat(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if neighbours among its operands came from one value."""
    axis = axis_of(node, shapes)
    operands = [value for value in node.inputs if value is not None]
    if axis is None:
        return 0
    whole = _split_whole(operands, axis, shapes) or _sliced_whole(operands, axis, shapes)
    if whole is not None:
        return _replace(graph, node, whole)
    runs = _runs(operands, axis, shapes)
    if len(runs) == len(operands) > 1:
        return 0
    joined = [run[0] if len(run) == 1 else _joined(graph, node, run, shapes) for run in runs]
    return _replace(graph, node, joined[0] if len(joined) == 1 else new_op(graph, node, "Concat", *joined, axis=axis))


def _split_whole(operands: list[ir.Value], axis: int, shapes: InferredShapes) -> ir.Value | None:
    """What was split into just these operands."""
    split = producer(operands[0], "Split")
    if split is None or list(split.outputs) != operands or axis_of(split, shapes) != axis:
        return None
    return split.inputs[0]


def _sliced_whole(operands: list[ir.Value], axis: int, shapes: InferredShapes) -> ir.Value | None:
    """x of x[:k] and x[k:], whatever k is when the graph runs."""
    cuts = [cut_of(operand.producer(), shapes) for operand in operands]
    if len(cuts) != 2 or cuts[0] is None or cuts[1] is None:
        return None
    left, right = cuts[0], cuts[1]
    same = left.source is right.source and left.axis == right.axis == axis
    meet = input_of(left.node, 2) is input_of(right.node, 1)
    return left.source if same and meet and left.start == 0 and right.reaches_end() else None


def _runs(operands: list[ir.Value], axis: int, shapes: InferredShapes) -> list[list[ir.Value]]:
    """The operands, those beside each other that were cut from one value without a gap together."""
    runs: list[list[ir.Value]] = []
    for operand in operands:
        if runs and _meet(runs[-1][-1], operand, axis, shapes):
            runs[-1].append(operand)
        else:
            runs.append([operand])
    return runs


def _meet(left: ir.Value, right: ir.Value, axis: int, shapes: InferredShapes) -> bool:
    first, second = cut_of(left.producer(), shapes), cut_of(right.producer(), shapes)
    if first is None or second is None or first.source is not second.source or not first.axis == second.axis == axis:
        return False
    if first.start is None or first.end is None or second.end is None or first.reaches_end():
        return False
    return first.start <= first.end == second.start and second.start <= second.end


def _joined(graph: ir.Graph, before: ir.Node, run: list[ir.Value], shapes: InferredShapes) -> ir.Value:
    """One Slice in place of several, or nothing where they cover all."""
    first, last = cut_of(run[0].producer(), shapes), cut_of(run[-1].producer(), shapes)
    if first is None or last is None or first.start is None or last.end is None:
        raise ValueError("only cuts with constant bounds are joined")
    if first.start == 0 and last.reaches_end():
        return first.source
    start, end, axis = (
        add_initializer(graph, f"{run[0].name}_{name}", np.asarray([number], np.int64))
        for name, number in (("start", first.start), ("end", last.end), ("axis", first.axis))
    )
    return new_op(graph, before, "Slice", first.source, start, end, axis)


def _split_instead(graph: ir.Graph, shapes: InferredShapes) -> int:
    """How many Slices became outputs of a Split."""
    if graph.opset_imports.get("", 0) < _SPLIT_BY_INPUT:
        return 0
    groups: dict[tuple[ir.Value, int], list[Cut]] = {}
    for node in nodes_of(graph, "Slice"):
        cut = cut_of(node, shapes)
        if cut is not None and not is_constant(cut.source):
            groups.setdefault((cut.source, cut.axis), []).append(cut)
    return sum(_split_group(graph, cuts) for cuts in groups.values())


def _split_group(graph: ir.Graph, cuts: list[Cut]) -> int:
    ordered = sorted(cuts, key=lambda cut: -1 if cut.start is None else cut.start)
    ends = [cut.end for cut in ordered]
    bounds = [bound for bound in (0, *ends) if bound is not None]
    if len(cuts) < 2 or [cut.start for cut in ordered] != bounds[:-1] or ends != bounds[1:]:
        return 0
    lengths = [end - start for start, end in pairwise(bounds)]
    source, axis = cuts[0].source, cuts[0].axis
    if ordered[-1].length != bounds[-1] or min(lengths) < 1:
        return 0
    given = add_initializer(graph, f"{source.name}_lengths", np.asarray(lengths, np.int64))
    split = new_node(graph, cuts[0].node, "Split", source, given, n_outputs=len(lengths), axis=axis)
    for cut, output in zip(ordered, split.outputs, strict=True):
        replace_value(graph, cut.node.outputs[0], output)
        remove_unused(graph, cut.node)
    return len(cuts)


def _may_replace(old: ir.Value, new: ir.Value) -> bool:
    """Whether `new` can stand for `old` without an Identity between them."""
    return not old.is_graph_output() or not (new.producer() is None or new.is_graph_output())


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> int:
    if not _may_replace(node.outputs[0], value):
        return 0
    replace_value(graph, node.outputs[0], value)
    remove_unused(graph, node)
    return 1
