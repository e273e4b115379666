"""Which operators change nothing, and what to read instead of their output."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    attribute_of,
    constant_operand,
    input_of,
    ints_of,
    is_op,
    scalar_of,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes
from stagewhisper.compiler.trial_lengths import Trial

_LAYOUTS = ("Expand", "Reshape", "Slice", "Tile")
_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def unchanged(node: ir.Node, shapes: InferredShapes, trials: Sequence[Trial]) -> ir.Value | None:
    """The value that `node` passes on as it is; None if it does something.

    A layout does nothing where the shape is the same before and after at all lengths that were tried.
    """
    source = input_of(node, 0)
    if is_op(node, "Identity"):
        return source
    if is_op(node, "Cast"):
        return source if shapes.dtype(source) == ir.DataType(attribute_of(node, "to")) else None
    if is_op(node, "Concat"):
        return source if len(node.inputs) == 1 else None
    if is_op(node, *_NEUTRAL):
        source = _beside_neutral(node)
        return source if source is not None and _same_shape(node, source, trials) else None
    if is_op(node, *_LAYOUTS) and source is not None and _same_shape(node, source, trials):
        return source if not is_op(node, "Slice") or _goes_forward(node) else None
    return None


def _beside_neutral(node: ir.Node) -> ir.Value | None:
    """x of x · 1, x / 1, x + 0 or x − 0."""
    pair = constant_operand(node)
    if pair is None or scalar_of(pair[0]) != _NEUTRAL[node.op_type]:
        return None
    return None if node.op_type in ("Sub", "Div") and pair[0] is node.inputs[0] else pair[1]


def _same_shape(node: ir.Node, source: ir.Value, trials: Sequence[Trial]) -> bool:
    shapes = [(trial.shape(source), trial.shape(node.outputs[0])) for trial in trials]
    return all(before is not None and before == after for before, after in shapes)


def _goes_forward(node: ir.Node) -> bool:
    """A Slice that keeps all elements in their order."""
    steps = input_of(node, 4)
    found = ints_of(steps)
    return steps is None or (found is not None and bool(np.all(np.asarray(found) > 0)))
