"""The products of a graph with a constant matrix, in whatever form an exporter wrote them.

x ─► MatMul(weight) ─► Add(bias)             our export, torch's and optimum's
x ─► MatMul(Transpose(weight))               the vocabulary projection, tied to the token embedding
x ─► FusedMatMul(weight, transB, alpha)      after Transposes were absorbed
x ─► Gemm(weight, bias, transB)              torch's, on flattened rows
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    constant_operand,
    input_of,
    is_op,
    only_consumer,
    producer,
    tensor_of,
)

VOCABULARY = "vocabulary"
"""The vocabulary projection answers to this name too, whatever an exporter calls its weight."""

BALANCED = ".balanced"
"""What `balance_layer_norm` puts behind the name of a weight."""

VOCABULARY_RATIO = 16
"""Outputs per input from which on a matrix must be the vocabulary's: in an MLP it is 4, in Whisper large's head 40."""


@dataclass(frozen=True)
class LinearLayer:
    """scale · x · weight + bias."""

    product: ir.Node
    x: ir.Value
    weight: ir.Value
    """A constant, [n_in, n_out], or [n_out, n_in] if `transposed`."""
    transposed: bool
    scale: float
    n_in: int
    n_out: int
    bias: ir.Value | None
    """A constant, [n_out]."""
    add: ir.Node | None
    """The node that adds the bias, if the product does not do so itself."""

    @property
    def name(self) -> str:
        """What the weight is called, without the marks of turned and of balanced weights."""
        return (self.weight.name or "weight").removesuffix(BALANCED).removesuffix(".T")

    @property
    def output(self) -> ir.Value:
        """What the layer gives, bias included."""
        return (self.add or self.product).outputs[0]

    def rows(self, weight: np.ndarray) -> np.ndarray:
        """The layer's weight as float32 [n_out, n_in], scale included; a view where nothing must be computed."""
        array = (weight if self.transposed else weight.T).astype(np.float32, copy=False)
        return array if self.scale == 1 else np.asarray(array * np.float32(self.scale), np.float32)

    def is_called(self, patterns: Sequence[str]) -> bool:
        """Whether the name of the weight or of the product matches one of the glob patterns."""
        names = [self.weight.name or "", self.name, self.product.name or ""]
        if self.n_out >= VOCABULARY_RATIO * self.n_in:
            names.append(VOCABULARY)
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def linear_layers(graph: ir.Graph, *, only: Sequence[str] = ("*",), keep: Sequence[str] = ()) -> Iterator[LinearLayer]:
    """The float32 layers whose weight is called as in `only`, but not as in `keep`.

    The graph may be edited meanwhile.
    """
    for node in tuple(graph):
        layer = linear_layer(node) if node.graph is graph else None
        if layer is not None and layer.is_called(only) and not layer.is_called(keep):
            yield layer


def linear_layer(node: ir.Node) -> LinearLayer | None:
    """The layer whose product `node` is, or None."""
    if is_op(node, "MatMul"):
        return _layer(node, transposed=False, scale=1.0)
    if is_op(node, "FusedMatMul", domain=MICROSOFT):
        if any(attribute_of(node, flag, 0) for flag in ("transA", "transBatchA", "transBatchB")):
            return None
        return _layer(node, transposed=bool(attribute_of(node, "transB", 0)), scale=attribute_of(node, "alpha", 1.0))
    if is_op(node, "Gemm") and not attribute_of(node, "transA", 0):
        return _gemm(node)
    return None


def _layer(node: ir.Node, *, transposed: bool, scale: float) -> LinearLayer | None:
    x, weight = input_of(node, 0), input_of(node, 1)
    turn = producer(weight, "Transpose")
    if turn is not None and attribute_of(turn, "perm", [1, 0]) == [1, 0]:
        weight, transposed = input_of(turn, 0), not transposed
    tensor = tensor_of(weight)
    if x is None or weight is None or tensor is None or tensor_of(x) is not None:
        return None
    if tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2:
        return None
    n_in, n_out = tensor.shape.numpy()[::-1] if transposed else tensor.shape.numpy()
    bias, add = _bias(node, n_out) if not is_op(node, "Gemm") else (None, None)
    return LinearLayer(node, x, weight, transposed, scale, n_in, n_out, bias, add)


def _gemm(node: ir.Node) -> LinearLayer | None:
    layer = _layer(node, transposed=bool(attribute_of(node, "transB", 0)), scale=attribute_of(node, "alpha", 1.0))
    bias = input_of(node, 2)
    if layer is None or bias is None:
        return layer
    if attribute_of(node, "beta", 1.0) != 1 or not _is_row(bias, layer.n_out):
        return None
    return replace(layer, bias=bias)


def _bias(product: ir.Node, n_out: int) -> tuple[ir.Value | None, ir.Node | None]:
    add = only_consumer(product.outputs[0])
    operands = constant_operand(add) if add is not None and is_op(add, "Add") else None
    if operands is None or not _is_row(operands[0], n_out):
        return None, None
    return operands[0], add


def _is_row(value: ir.Value, n_out: int) -> bool:
    tensor = tensor_of(value)
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT and tuple(tensor.shape) == (n_out,)


def token_rows(layer: LinearLayer, graph: ir.Graph) -> list[ir.Node]:
    """The Gather nodes that read whole rows of the layer's weight: the token embedding, tied to the projection."""
    if not layer.transposed or layer.scale != 1:
        return []
    return [
        node
        for node in graph
        if is_op(node, "Gather") and node.inputs[0] is layer.weight and attribute_of(node, "axis", 0) == 0
    ]
