"""Shapes and types of all values of a graph, by ONNX's own inference, without writing them into the graph.

A shape that a pass leaves in the graph is wrong after the next pass has turned the value over. So passes that need
shapes ask for them here, use them and forget them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    input_of,
    insert_node,
    new_op,
    nodes_of,
    tensor_of,
    unique_name,
)

_ATTENTION = ("GroupQueryAttention", "MultiHeadAttention")
_LIKE_INPUT = ("BiasGelu", "FastGelu", "QuickGelu", "SkipLayerNormalization", *_ATTENTION)
_BY_WEIGHT = ("DynamicQuantizeMatMul", "MatMulNBits")
_SPLIT_COUNTS = 18
"""The first opset whose Split must be told the number of parts."""

Dim = int | str | None
"""A length, the name of a free length, or nothing known."""


@dataclass(frozen=True)
class InferredShapes:
    """What is known of a graph's values as it was when `infer_shapes` looked; newer values are unknown.

    A name of a free length says nothing: two lengths of the same name may differ, and two of different names be equal.
    """

    dims_by_name: Mapping[str, tuple[Dim, ...]]
    dtype_by_name: Mapping[str, ir.DataType]

    def dims(self, value: ir.Value | None) -> tuple[Dim, ...] | None:
        """The lengths of the value's axes, or None where not even their number is known."""
        if value is None:
            return None
        tensor = tensor_of(value)
        if tensor is not None:
            return _dims(tensor.shape)
        return self.dims_by_name.get(value.name or "")

    def rank(self, value: ir.Value | None) -> int | None:
        """The number of the value's axes, if known."""
        dims = self.dims(value)
        return None if dims is None else len(dims)

    def length(self, value: ir.Value | None, axis: int) -> int | None:
        """The length of one axis, if it is fixed and known."""
        dims = self.dims(value)
        if dims is None or not -len(dims) <= axis < len(dims):
            return None
        length = dims[axis]
        return length if isinstance(length, int) else None

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """The value's type, if known."""
        if value is None:
            return None
        tensor = tensor_of(value)
        return tensor.dtype if tensor is not None else self.dtype_by_name.get(value.name or "")


def infer_shapes(graph: ir.Graph) -> InferredShapes:
    """The shapes and types of the graph's values.

    Works on a copy whose weights are shared and not read. Of ONNX Runtime's operators those that Whisper's graphs get
    are known; of others, what the pass noted that made them (see `note_shape`). Unknown ones end the knowledge on their
    path.
    """
    copy = graph.clone(allow_outer_scope_values=True)
    _forget_layouts(copy)
    _say_in_onnx(copy)
    # Inference never fails a pass: what it cannot tell stays unknown.
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(ir.Model(copy, ir_version=10))
    values = [*copy.inputs, *(output for node in copy for output in node.outputs)]
    return InferredShapes(
        {value.name: _dims(value.shape) for value in values if value.name and value.shape is not None},
        {value.name: value.dtype for value in values if value.name and value.dtype is not None},
    )


def note_shape(value: ir.Value, shapes: InferredShapes, *, like: ir.Value) -> None:
    """Write into the graph what is known of `like`, for the output of an operator that ONNX cannot infer."""
    dims, dtype = shapes.dims(like), shapes.dtype(like)
    if dims is not None:
        value.shape = ir.Shape([dim if isinstance(dim, int) else None for dim in dims])
    if dtype is not None:
        value.type = ir.TensorType(dtype)


def _forget_layouts(graph: ir.Graph) -> None:
    """Drop shapes noted between inputs and outputs: an exporter's, or an earlier pass's, may be out of date."""
    for node in graph:
        for output in node.outputs:
            if not output.is_graph_output() and node.domain in ("", "ai.onnx"):
                output.shape = None


def _say_in_onnx(graph: ir.Graph) -> None:
    """Put an ONNX operator of the same first output beside each of ONNX Runtime's that ONNX cannot infer."""
    for node in nodes_of(graph, *_LIKE_INPUT, *_BY_WEIGHT, domain=MICROSOFT):
        source, old = node.inputs[0], node.outputs[0]
        if source is None:
            continue
        is_packed = node.op_type in _ATTENTION and input_of(node, 2) is None
        twin = _first_third(graph, node, source) if is_packed else _twin(graph, node, source)
        if twin is None:
            continue
        name, old.name = old.name, f"{old.name}_of_{node.op_type}"
        twin.name = name
        twin.type = old.type
        old.replace_all_uses_with(twin, replace_graph_outputs=True)


def _first_third(graph: ir.Graph, node: ir.Node, source: ir.Value) -> ir.Value:
    """Queries of packed queries, keys and values: as wide as what comes out of attention."""
    parts = {"num_outputs": 3} if graph.opset_imports.get("", 1) >= _SPLIT_COUNTS else {}
    split = ir.node("Split", [source], {"axis": -1, **parts}, num_outputs=3)
    insert_node(graph, node, split)
    return split.outputs[0]


def _twin(graph: ir.Graph, node: ir.Node, source: ir.Value) -> ir.Value | None:
    if node.op_type in _LIKE_INPUT:
        return new_op(graph, node, "Identity", source)
    weight = tensor_of(input_of(node, 1))
    shape = [attribute_of(node, "K"), attribute_of(node, "N")]  # of MatMulNBits, whose weight is packed
    if shape[0] is None:
        shape = [] if weight is None else [int(length) for length in weight.shape.numpy()]
    if len(shape) != 2:
        return None
    unpacked = ir.val(unique_name(graph, "unpacked"), ir.DataType.FLOAT, shape)
    graph.inputs.append(unpacked)
    return new_op(graph, node, "MatMul", source, unpacked)


def _dims(shape: ir.Shape | ir.ShapeProtocol) -> tuple[Dim, ...]:
    return tuple(dim if isinstance(dim, int) else dim.value for dim in shape)
