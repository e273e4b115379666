"""A weight is turned over when the graph is saved, not every time it runs.

weight ─► Transpose ─► y   →   the weight, turned over ─► y
"""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import derive_initializer, remove_unused, replace_value, tensor_of
from stagewhisper.compiler.inferred_shapes import InferredShapes
from stagewhisper.compiler.transposes.permutations import Permutation, permutation_of

LARGE_BYTES = 1 << 16
"""A larger constant that is read in its old layout too is not stored a second time."""


def turn_weight(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if this Transpose was of a constant, and is done offline now."""
    perm, source = permutation_of(node, shapes), node.inputs[0]
    if perm is None or source is None or node.outputs[0].is_graph_output() or not may_turn(source):
        return 0
    replace_value(graph, node.outputs[0], turned(graph, source, perm))
    remove_unused(graph, node)
    return 1


def may_turn(source: ir.Value) -> bool:
    """Whether `source` is a constant that can change its layout without being stored twice."""
    tensor = tensor_of(source)
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        return False
    return tensor.nbytes <= LARGE_BYTES or (len(source.uses()) == 1 and not source.is_graph_output())


def turned(graph: ir.Graph, source: ir.Value, perm: Permutation) -> ir.Value:
    """The constant `source` with its axes in the order `perm`; axes that it lacks in front have length one."""
    tensor = tensor_of(source)
    if tensor is None:
        raise ValueError(f"{source.name} is no constant")
    shape = [1] * (len(perm) - len(tensor.shape)) + [int(length) for length in tensor.shape.numpy()]

    def compute(array: np.ndarray) -> np.ndarray:
        return array.reshape(shape).transpose(perm)

    name = f"{source.name}_transposed"
    return derive_initializer(graph, name, [source], compute, shape=[shape[axis] for axis in perm], dtype=tensor.dtype)
