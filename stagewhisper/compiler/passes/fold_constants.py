"""Compute before the graph runs what does not depend on its inputs.

    before   8, 64 ─► Mul ─► Unsqueeze ─► Concat ─► Reshape          a weight ─► Transpose ─► MatMul
    after    [0, 0, 512] ──────────────────────────► Reshape         the weight turned over ─► MatMul

Five rules:
    constants   a node whose inputs are all constant becomes a constant, computed in NumPy
    lengths     a Shape, or what is picked from it, becomes a constant where the lengths in question are fixed
    weights     Transpose, Reshape, Squeeze, Unsqueeze and Cast of a large weight are done when the graph is saved
    ranges      Range(n, n + 1, 1), the position of a single token, becomes Unsqueeze(n)
    lifting     a Constant node becomes an initializer

Declines where the graph would grow by more than `max_bytes`: an Expand stays, and so does the Transpose of a weight of
more than 64 KiB that someone else reads as it is, for then it would be stored twice. Declines for operators whose
numbers NumPy and ONNX Runtime may round differently, for outputs of the graph, and inside If and Loop.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.constant_evaluation import TooLargeError, can_evaluate, evaluate
from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    derive_initializer,
    input_of,
    ints_of,
    is_op,
    new_op,
    nodes_of,
    producer,
    remove_unused,
    replace_value,
    scalar_of,
    tensor_of,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes
from stagewhisper.compiler.transposes.weights import LARGE_BYTES

_LAYOUTS = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast")
_SMALL_BYTES = 4096  # what is smaller is a shape or a scale, not a weight

Lengths = tuple[int | None, ...]
"""A shape as computed in the graph; None where a length is known only when it runs."""


def fold_constants(graph: ir.Graph, *, max_bytes: int = 1 << 20) -> int:
    """Replace computations on constants by their results; returns how many nodes went that way.

    `max_bytes` is the size of the largest constant that may be computed eagerly or be added to the graph.
    """
    folded = _lift_constant_nodes(graph)
    shapes = infer_shapes(graph)
    for node in tuple(graph):
        if node.graph is graph and not any(output.is_graph_output() for output in node.outputs):
            folded += _fold(graph, node, shapes, max_bytes) or _fold_range(graph, node, shapes)
    return folded


def _lift_constant_nodes(graph: ir.Graph) -> int:
    lifted = 0
    for node in nodes_of(graph, "Constant"):
        output = node.outputs[0]
        tensor = None if output.is_graph_output() else tensor_of(output)
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        shape, dtype = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        value = ir.Value(name=output.name, type=dtype, shape=shape, const_value=tensor)
        output.replace_all_uses_with(value)
        graph.remove(node, safe=True)
        graph.register_initializer(value)
        lifted += 1
    return lifted


def _fold(graph: ir.Graph, node: ir.Node, shapes: InferredShapes, max_bytes: int) -> int:
    """1 if the node became a constant."""
    lengths = _lengths(node.outputs[0], shapes) if len(node.outputs) == 1 else None
    if lengths is not None and None not in lengths:
        vector = np.asarray(lengths, np.int64)
        return _become(graph, node, vector.reshape(()) if shapes.rank(node.outputs[0]) == 0 else vector)
    tensors = [tensor_of(value) for value in node.inputs]
    given = [tensor for value, tensor in zip(node.inputs, tensors, strict=True) if value is not None]
    if not can_evaluate(node) or not given or not all(map(_is_numeric, given)):
        return 0
    if is_op(node, "Identity"):
        return _replace(graph, node, node.inputs[0])
    n_bytes = sum(tensor.nbytes for tensor in given if tensor is not None)
    if is_op(node, *_LAYOUTS) and n_bytes > _SMALL_BYTES:
        return _fold_weight(graph, node, shapes, max_bytes)
    if n_bytes > max_bytes:
        return 0
    try:
        array = evaluate(node, [None if t is None else t.numpy() for t in tensors], max_bytes=max_bytes)
    except TooLargeError:
        return 0
    return 0 if array is None else _become(graph, node, array)


def _fold_range(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if the node was a range of one number."""
    if not is_op(node, "Range") or shapes.dtype(node.outputs[0]) != ir.DataType.INT64:
        return 0
    start, limit, step = node.inputs
    summands = [] if (sum_of := producer(limit, "Add")) is None else list(sum_of.inputs)
    if scalar_of(step) != 1 or start is None or start not in summands or shapes.rank(start) != 0:
        return 0
    summands.remove(start)
    if scalar_of(summands[0]) != 1:
        return 0
    axes = add_initializer(graph, f"{node.outputs[0].name}_axes", np.zeros(1, np.int64))
    return _replace(graph, node, new_op(graph, node, "Unsqueeze", start, axes))


def _is_numeric(tensor: ir.TensorProtocol | None) -> bool:
    return tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.dtype.bitwidth >= 8


def _become(graph: ir.Graph, node: ir.Node, array: np.ndarray) -> int:
    return _replace(graph, node, add_initializer(graph, f"{node.outputs[0].name}_folded", array))


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value | None) -> int:
    if value is None:
        return 0
    replace_value(graph, node.outputs[0], value)
    remove_unused(graph, node)
    return 1


def _fold_weight(graph: ir.Graph, node: ir.Node, shapes: InferredShapes, max_bytes: int) -> int:
    """A weight in another layout, computed when the graph is saved; if large, only where the old layout goes."""
    source, tensor, dims = node.inputs[0], tensor_of(node.inputs[0]), shapes.dims(node.outputs[0])
    shape = [dim for dim in dims or () if isinstance(dim, int)]
    if source is None or tensor is None or dims is None or len(shape) != len(dims):
        return 0
    if tensor.nbytes > min(max_bytes, LARGE_BYTES) and (len(source.uses()) > 1 or source.is_graph_output()):
        return 0
    to = attribute_of(node, "to")
    dtype = tensor.dtype if to is None else ir.DataType(to)
    rest = [None if value is None else tensor_of(value) for value in node.inputs[1:]]
    others = [None if other is None else other.numpy() for other in rest]
    twin = ir.Node(node.domain, node.op_type, [], list(node.attributes.values()))  # for `node` itself goes

    def compute(array: np.ndarray) -> np.ndarray:
        result = evaluate(twin, [array, *others], max_bytes=array.nbytes * 8)
        if result is None:
            raise ValueError(f"{twin.op_type} cannot be applied to {source.name}")
        return result

    name = f"{source.name}_{node.op_type.lower()}"
    return _replace(graph, node, derive_initializer(graph, name, [source], compute, shape=shape, dtype=dtype))


def _lengths(value: ir.Value | None, shapes: InferredShapes) -> Lengths | None:
    """What is known of a vector or scalar that was picked from shapes; None if it is something else."""
    node = None if value is None else value.producer()
    if node is None:
        return None
    if is_op(node, "Shape"):
        dims = shapes.dims(node.inputs[0])
        picked = slice(attribute_of(node, "start", 0), attribute_of(node, "end"))
        return None if dims is None else tuple(dim if isinstance(dim, int) else None for dim in dims)[picked]
    if is_op(node, "Gather") and attribute_of(node, "axis", 0) == 0:
        return _gathered(_lengths(node.inputs[0], shapes), ints_of(input_of(node, 1)))
    if is_op(node, "Slice"):
        return _sliced(_lengths(node.inputs[0], shapes), [ints_of(value) for value in node.inputs[1:]])
    if is_op(node, "Squeeze", "Unsqueeze", "Identity"):
        known = _lengths(node.inputs[0], shapes)
        return known if known is not None and len(known) == 1 and shapes.rank(value) in (0, 1) else None
    return None


def _gathered(known: Lengths | None, indices: Sequence[int] | None) -> Lengths | None:
    if known is None or indices is None or any(not -len(known) <= index < len(known) for index in indices):
        return None
    return tuple(known[index] for index in indices)


def _sliced(known: Lengths | None, parameters: list[list[int] | None]) -> Lengths | None:
    """By (starts, ends, axes, steps); a vector has one axis."""
    if known is None or any(parameter is None or len(parameter) != 1 for parameter in parameters):
        return None
    (start, end, *more) = (parameter[0] for parameter in parameters if parameter)
    step = more[1] if len(more) > 1 else 1
    return known[start:end] if step == 1 else None
