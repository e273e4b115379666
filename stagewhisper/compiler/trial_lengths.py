"""What a graph computes from the lengths of its inputs alone, tried out with made-up lengths.

    tokens [4, 3], past [4, 8, 5, 64] ─► every activation's shape; masks, positions, targets of Reshape as numbers

Exporters write the same mask and the same split into heads in ever new ways. A pass that compares what comes out, at
several lengths, understands them all, and is not fooled by a mask that only looks causal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.constant_evaluation import TooLargeError, can_evaluate, evaluate
from stagewhisper.compiler.graph_tools import MICROSOFT, attribute_of, input_of, is_op, tensor_of

_MAX_BYTES = 1 << 24
"""Largest array that is computed; largest constant that is read."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Lengths:
    """One try."""

    n_seq: int
    """Sequences; there are half as many windows (`n_audio`)."""
    n_new: int
    n_past: int


TRIES = (Lengths(4, 3, 5), Lengths(2, 1, 7), Lengths(2, 4, 0))
"""A few tokens after others, a step, and a prompt. No two lengths of one try are equal."""


class Trial:
    """One try of a graph: shapes of its values, and the values that depend on lengths alone."""

    def __init__(self, graph: ir.Graph, lengths: Lengths) -> None:
        """Goes through the graph once, in order."""
        self.lengths = lengths
        self._shapes: dict[ir.Value, Shape] = {}
        self._arrays: dict[ir.Value, np.ndarray] = {}
        self.n_past = n_past_input(graph)
        tokens = tokens_input(graph)
        for value in graph.inputs:
            self._give(value, tokens)
        for node in graph:
            self._run(node)

    def shape(self, value: ir.Value | None) -> Shape | None:
        """The lengths of the value's axes, or None where an operator that is not known here comes before."""
        if value is None:
            return None
        tensor = tensor_of(value)
        return self._shapes.get(value) if tensor is None else tuple(int(length) for length in tensor.shape.numpy())

    def array(self, value: ir.Value | None) -> np.ndarray | None:
        """The value itself, if it depends on lengths and small constants only."""
        if value is None:
            return None
        tensor = tensor_of(value)
        if tensor is None or value in self._arrays:
            return self._arrays.get(value)
        if tensor.nbytes > _MAX_BYTES or tensor.dtype == ir.DataType.STRING:
            return None
        return self._arrays.setdefault(value, tensor.numpy())

    def _give(self, value: ir.Value, tokens: ir.Value | None) -> None:
        if value.shape is None or value.is_initializer():
            return
        shape = tuple(self._length(value, axis, tokens) for axis in range(len(value.shape)))
        self._shapes[value] = shape
        if value is self.n_past:
            self._arrays[value] = np.asarray(self.lengths.n_past)

    def _length(self, value: ir.Value, axis: int, tokens: ir.Value | None) -> int:
        dim = value.shape[axis] if value.shape is not None else None
        if isinstance(dim, int):
            return dim
        if axis == 0:
            return self.lengths.n_seq // 2 if str(dim) == "n_audio" else self.lengths.n_seq
        is_new = value is tokens or (tokens is not None and tokens.shape is not None and dim == tokens.shape[1])
        return self.lengths.n_new if is_new else self.lengths.n_past

    def _run(self, node: ir.Node) -> None:
        array = self._computed(node)
        if array is not None:
            self._arrays[node.outputs[0]] = array
            self._shapes[node.outputs[0]] = array.shape
            return
        try:
            shapes = self._output_shapes(node)
        except (ValueError, IndexError, TypeError, TooLargeError):
            return  # lengths that do not fit together: whoever asks is told that nothing is known
        for output, shape in zip(node.outputs, shapes, strict=False):
            if shape is not None:
                self._shapes[output] = tuple(int(length) for length in shape)

    def _computed(self, node: ir.Node) -> np.ndarray | None:
        shape = self.shape(input_of(node, 0))
        if is_op(node, "Shape"):
            picked = slice(attribute_of(node, "start", 0), attribute_of(node, "end"))
            return None if shape is None else np.asarray(shape[picked], np.int64)
        if is_op(node, "Size"):
            return None if shape is None else np.asarray(np.prod(shape), np.int64)
        if not node.inputs or not can_evaluate(node):
            return None
        if any(value is not None and value not in self._arrays and tensor_of(value) is None for value in node.inputs):
            return None
        arrays = [self.array(value) for value in node.inputs]
        if any(array is None and value is not None for array, value in zip(arrays, node.inputs, strict=True)):
            return None
        try:
            return evaluate(node, arrays, max_bytes=_MAX_BYTES)
        except TooLargeError:
            return None

    def _output_shapes(self, node: ir.Node) -> list[Shape | None]:
        if node.domain == MICROSOFT:
            rule = _MICROSOFT_SHAPES.get(node.op_type)
        else:
            rule = _SHAPES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is not None:
            given = [self.shape(value) for value in node.inputs]
            if not given or given[0] is None:
                return []
            return [rule(node, given)] * (
                len(node.outputs) if is_op(node, "SkipLayerNormalization", domain=MICROSOFT) else 1
            )
        if is_op(node, *_LAYOUTS):
            return [self._moved(node)]
        if is_op(node, "Split"):
            return self._split(node)
        if is_op(node, "Pad"):
            return [self._padded(node)]
        return []

    def _moved(self, node: ir.Node) -> Shape | None:
        """The output of an operator that only moves elements about, tried with an array that takes no memory."""
        arrays: list[np.ndarray | None] = []
        for value in node.inputs:
            array, shape = self.array(value), self.shape(value)
            if array is None and shape is not None:
                index = is_op(node, "Gather") and len(arrays) == 1
                array = np.broadcast_to(np.zeros((), np.int64 if index else np.bool_), shape)
            if array is None and value is not None:
                return None
            arrays.append(array)
        result = evaluate(node, arrays, max_bytes=1 << 32)
        return None if result is None else result.shape

    def _padded(self, node: ir.Node) -> Shape | None:
        shape, pads = self.shape(node.inputs[0]), self.array(input_of(node, 1))
        if shape is None or pads is None or input_of(node, 3) is not None:
            return None
        both = pads.reshape(2, -1).sum(axis=0).tolist()
        return tuple(length + more for length, more in zip(shape, both, strict=True))

    def _split(self, node: ir.Node) -> list[Shape | None]:
        shape, sizes = self.shape(node.inputs[0]), self.array(input_of(node, 1))
        if shape is None:
            return []
        axis = attribute_of(node, "axis", 0)
        lengths = [shape[axis] // len(node.outputs)] * len(node.outputs) if sizes is None else sizes.tolist()
        return [_with(shape, axis, length) for length in lengths]


def try_lengths(graph: ir.Graph) -> tuple[Trial, ...]:
    """The graph at several lengths."""
    return tuple(Trial(graph, lengths) for lengths in TRIES)


def tokens_input(graph: ir.Graph) -> ir.Value | None:
    """The decoder's input of token ids, [n_seq, n_new]; None if the graph has no such input, or two."""
    found = [
        value
        for value in graph.inputs
        if value.dtype in (ir.DataType.INT64, ir.DataType.INT32) and value.shape is not None and len(value.shape) == 2
    ]
    return found[0] if len(found) == 1 else None


def n_past_input(graph: ir.Graph) -> ir.Value | None:
    """The decoder's input of the number of filled positions, an int64 scalar; None if there is none, or two."""
    found = [
        value
        for value in graph.inputs
        if value.dtype == ir.DataType.INT64 and value.shape is not None and len(value.shape) == 0
    ]
    return found[0] if len(found) == 1 else None


_LAYOUTS = ("Transpose", "Reshape", "Concat", "Gather", "Slice", "Expand", "Unsqueeze", "Squeeze", "Tile")

Given = list[Shape | None]
Rule = Callable[[ir.Node, Given], Shape | None]


def _with(shape: Shape, axis: int, length: int) -> Shape:
    lengths = list(shape)
    lengths[axis] = length
    return tuple(lengths)


def _same(node: ir.Node, given: Given) -> Shape | None:  # noqa: ARG001  the signature of all rules
    return given[0]


def _broadcast(node: ir.Node, given: Given) -> Shape | None:  # noqa: ARG001
    return None if None in given else np.broadcast_shapes(*(shape for shape in given if shape is not None))


def _product(node: ir.Node, given: Given) -> Shape | None:
    left, right = given[0], given[1]
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    left = (*left[:-2], left[-1], left[-2]) if attribute_of(node, "transA", 0) else left
    right = (*right[:-2], right[-1], right[-2]) if attribute_of(node, "transB", 0) else right
    if left[-1] != right[-2]:
        raise ValueError("inner lengths differ")
    return (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])


def _n_columns(node: ir.Node, given: Given) -> Shape | None:
    return None if given[0] is None else (*given[0][:-1], int(attribute_of(node, "N")))


def _convolved(node: ir.Node, given: Given) -> Shape | None:
    x, weight = given[0], given[1]
    if x is None or weight is None or len(x) != 3:
        return None
    pads, strides = attribute_of(node, "pads", [0, 0]), attribute_of(node, "strides", [1])
    dilations, auto_pad = attribute_of(node, "dilations", [1]), attribute_of(node, "auto_pad", "NOTSET")
    if auto_pad != "NOTSET":
        return None
    covered = dilations[0] * (weight[2] - 1) + 1
    return (x[0], weight[0], (x[2] + sum(pads) - covered) // strides[0] + 1)


def _gathered(node: ir.Node, given: Given) -> Shape | None:
    data, indices = given[0], given[1]
    if data is None or indices is None or attribute_of(node, "batch_dims", 0):
        return None
    return (*indices[:-1], *data[indices[-1] :])


def _attended(node: ir.Node, given: Given) -> Shape | None:
    packed = input_of(node, 1) is None
    return given[0] if not packed or given[0] is None else (*given[0][:-1], given[0][-1] // 3)


_SHAPES: Mapping[str, Rule] = {
    **dict.fromkeys(
        ("Cast", "Dropout", "Elu", "Erf", "Gelu", "Identity", "IsInf", "IsNaN", "LayerNormalization"), _same
    ),
    **dict.fromkeys(("Abs", "Exp", "Neg", "Not", "Relu", "ScatterND", "Sigmoid", "Softmax", "Sqrt", "Tanh"), _same),
    **dict.fromkeys(("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "TensorScatter", "Trilu"), _same),
    **dict.fromkeys(("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _broadcast),
    **dict.fromkeys(("Max", "Min", "Mul", "Or", "Pow", "Sub", "Where"), _broadcast),
    "Conv": _convolved,
    "GatherND": _gathered,
    "MatMul": _product,
    "MatMulInteger": _product,
}

_MICROSOFT_SHAPES: Mapping[str, Rule] = {
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu", "QuickGelu", "SkipLayerNormalization"), _same),
    **dict.fromkeys(("DecoderMaskedMultiHeadAttention", "GroupQueryAttention", "MultiHeadAttention"), _attended),
    "DynamicQuantizeMatMul": _product,
    "FusedMatMul": _product,
    "MatMulIntegerToFloat": _product,
    "MatMulNBits": _n_columns,
}
