"""Compute in float16: half the bytes of weights, activations and caches.

    before   mel, weights float32 ─► Conv ─► … ─► Softmax ─► … ─► logits, all in float32
    after    mel ─► Cast ─► Conv (weights float16) ─► … ─► Cast ─► Softmax ─► Cast ─► … ─► Cast ─► logits

`keep_io` leaves the graph's inputs and outputs in float32, with casts behind and before them; without it they are
float16, caches too. Operators named in `sensitive` stay in float32, with casts around them, and so does what has no
float16 form: dynamic quantisation, and the scales of int8 caches. Weights are converted when the graph is saved;
numbers beyond float16's range become its largest (masks of −3·10³⁸), infinities stay.

For GPUs: on CPUs ONNX Runtime has few float16 operators, and puts casts to float32 and back around all others.
Declines for graphs with branches (If, Loop), whose types are not followed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    derive_initializer,
    is_op,
    new_op,
    remove_unused,
    tensor_of,
    unique_name,
)
from stagewhisper.compiler.inferred_shapes import infer_shapes

SINGLE, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16

SENSITIVE = ("Pow", "ReduceMean", "ReduceSum")
"""Squares and long sums overflow. LayerNormalization is float32 inside, as its `stash_type` says."""

_LARGEST = float(np.finfo(np.float16).max)
_QUANTIZED = ("DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
_SINGLE_ONLY = (*_QUANTIZED, "QuantizeLinear", "DynamicQuantizeLSTM")
_SINGLE_INPUTS = {"GroupQueryAttention": (12, 13)}  # the scales of an int8 cache


def _as_given(inputs: Arrays, graph: ir.Graph) -> Arrays:
    """Float inputs in the types of the graph after."""
    dtypes = {value.name: value.dtype for value in graph.inputs}
    return {name: array.astype(np.float16) if dtypes[name] == HALF else array for name, array in inputs.items()}


def _as_float32(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001  the signature of all adapters
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in outputs.items()}


@declares(tolerance=2e-2, adapt_inputs=_as_given, adapt_outputs=_as_float32)
def convert_to_fp16(graph: ir.Graph, *, keep_io: bool = True, sensitive: Sequence[str] = SENSITIVE) -> int:
    """Convert weights and arithmetic to float16; returns how many nodes compute in it now and did not before."""
    if any(attribute.type in _GRAPHS for node in graph for attribute in node.attributes.values()):
        return 0
    return _Conversion(graph, keep_io=keep_io, sensitive=tuple(sensitive)).run()


_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class _Conversion:
    """One graph on its way to float16: which of its values are float32 as it was, and their twins."""

    def __init__(self, graph: ir.Graph, *, keep_io: bool, sensitive: tuple[str, ...]) -> None:
        self._graph = graph
        self._keep_io = keep_io
        self._single_ops = {*_SINGLE_ONLY, *sensitive}
        self._was_single = set(_float_values(graph))
        self._nodes = [node for node in graph if self._converts(node)]
        self._made_half = {output for node in self._nodes for output in node.outputs if output in self._was_single}
        if not keep_io and self._nodes:
            self._made_half |= {value for value in graph.inputs if value in self._was_single}
        self._twins: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self) -> int:
        if not self._nodes:
            return 0
        converted = set(self._nodes)
        for node in tuple(self._graph):
            if node in converted:
                self._convert(node)
            elif not is_op(node, "Cast", "Shape", "Size"):
                self._feed(node, SINGLE)
        for value in self._made_half:
            value.type = ir.TensorType(HALF)
        self._finish_outputs()
        self._drop_unused_weights()
        return len(self._nodes)

    def _converts(self, node: ir.Node) -> bool:
        if node.op_type in self._single_ops or is_op(node, "Constant", "Shape", "Size"):
            return False
        if is_op(node, "Cast"):
            return ir.DataType(attribute_of(node, "to")) == SINGLE and not _is_half(node.inputs[0])
        values = [*node.inputs, *node.outputs]
        return any(value in self._was_single for index, value in enumerate(values) if not _stays_single(node, index))

    def _convert(self, node: ir.Node) -> None:
        if is_op(node, "Cast"):
            node.attributes["to"] = ir.AttrInt64("to", HALF.value)
        elif is_op(node, "ConstantOfShape"):
            _fill_with_half(node)
        self._feed(node, HALF)

    def _feed(self, node: ir.Node, dtype: ir.DataType) -> None:
        """Give the node its float inputs in this type."""
        for index, value in enumerate(node.inputs):
            if value in self._was_single and value is not None:
                wanted = SINGLE if _stays_single(node, index) else dtype
                node.replace_input_with(index, self._in(value, wanted, before=node))

    def _in(self, value: ir.Value, dtype: ir.DataType, *, before: ir.Node) -> ir.Value:
        """The value in this type: itself, a weight converted, or a Cast, made once."""
        if (HALF if value in self._made_half else SINGLE) == dtype:
            return value
        key = (value, dtype)
        if key not in self._twins:
            self._twins[key] = self._half_weight(value) or self._cast(value, dtype, before=before)
        return self._twins[key]

    def _half_weight(self, value: ir.Value) -> ir.Value | None:
        tensor = tensor_of(value)
        if tensor is None:
            return None
        shape = [int(length) for length in tensor.shape.numpy()]
        return derive_initializer(self._graph, f"{value.name}_fp16", [value], _to_half, shape=shape, dtype=HALF)

    def _cast(self, value: ir.Value, dtype: ir.DataType, *, before: ir.Node) -> ir.Value:
        cast = new_op(self._graph, before, "Cast", value, name=f"{value.name}_{dtype.name.lower()}", to=dtype.value)
        cast.type, cast.shape = ir.TensorType(dtype), None if value.shape is None else value.shape.copy()
        return cast

    def _finish_outputs(self) -> None:
        """Outputs of the graph get the type that they are to have, under their names."""
        wanted = SINGLE if self._keep_io else HALF
        for index, value in enumerate(self._graph.outputs):
            if value not in self._was_single or (HALF if value in self._made_half else SINGLE) == wanted:
                continue
            cast = ir.node("Cast", [value], {"to": wanted.value})
            self._graph.append(cast)
            output, name = cast.outputs[0], value.name
            value.name = unique_name(self._graph, f"{name}_{'half' if wanted == SINGLE else 'single'}")
            output.name, output.type = name, ir.TensorType(wanted)
            output.shape = None if value.shape is None else value.shape.copy()
            self._graph.outputs[index] = output

    def _drop_unused_weights(self) -> None:
        for value in tuple(self._was_single):
            if value.uses() or value.is_graph_output() or value.is_graph_input():
                continue
            if value.is_initializer() and value.name is not None:
                self._graph.initializers.pop(value.name)
            elif (node := value.producer()) is not None and is_op(node, "Constant"):
                remove_unused(self._graph, node)


def _float_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All float32 values; where inference knows nothing of an operator of ONNX Runtime, it is as its first input."""
    shapes = infer_shapes(graph)
    found = {value for value in (*graph.inputs, *graph.initializers.values()) if shapes.dtype(value) == SINGLE}
    for node in graph:
        for output in node.outputs:
            dtype = shapes.dtype(output) or output.dtype
            is_like_input = dtype is None and node.domain == MICROSOFT and bool(node.inputs) and node.inputs[0] in found
            if dtype == SINGLE or is_like_input:
                found.add(output)
    yield from found


def _stays_single(node: ir.Node, index: int) -> bool:
    return node.domain == MICROSOFT and index in _SINGLE_INPUTS.get(node.op_type, ()) and index < len(node.inputs)


def _is_half(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == HALF


def _fill_with_half(node: ir.Node) -> None:
    filling = node.attributes.get("value")
    number = np.zeros(1, np.float32) if filling is None else filling.as_tensor().numpy()
    node.attributes["value"] = ir.AttrTensor("value", ir.tensor(_to_half(number)))


def _to_half(array: np.ndarray) -> np.ndarray:
    clipped = np.asarray(np.clip(array, -_LARGEST, _LARGEST), np.float16)
    return np.where(np.isinf(array), array, clipped).astype(np.float16) if np.isinf(array).any() else clipped
