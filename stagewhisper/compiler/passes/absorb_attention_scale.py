"""Scale the weights of queries instead of the scores of attention: then a single row takes ONNX Runtime's fast path.

    before   x ─► MatMul(weight) ─► Add(bias) ─► Reshape ─► MultiHeadAttention(k, v; scale)
    after    x ─► MatMul(scale · weight) ─► Add(scale · bias) ─► Reshape ─► MultiHeadAttention(k, v; scale 1)

A row times a matrix has a kernel of its own in ONNX Runtime, which reads the matrix as fast as memory gives it, but
only if the product is not scaled. With a scale, keys are first copied into the form that many rows want. A decoder's
step is one row for each window.

Whisper's heads are 64 wide: the scale is 1/8, a power of two, and the numbers stay the same to the bit.

Declines where queries are not a product of their own (those packed with keys and values have many rows anyway), where
they are used elsewhere, and where the operator adds a bias itself.
"""

from math import sqrt

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    constant_operand,
    derive_initializer,
    input_of,
    is_op,
    nodes_of,
    producer,
)
from stagewhisper.compiler.linear_layers import LinearLayer, linear_layer

_BIAS = 3
"""Which of the operator's inputs is a bias of queries, keys and values."""


def absorb_attention_scale(graph: ir.Graph) -> int:
    """Move the scale of MultiHeadAttention into the weights of its queries; returns of how many operators."""
    return sum(_absorb(graph, attention) for attention in nodes_of(graph, "MultiHeadAttention", domain=MICROSOFT))


def _absorb(graph: ir.Graph, attention: ir.Node) -> bool:
    layer = _queries(attention)
    if layer is None or input_of(attention, _BIAS) is not None:
        return False
    scale = attribute_of(attention, "scale", 0.0) or 1 / sqrt(layer.n_out / attribute_of(attention, "num_heads"))
    if scale == 1:
        return False
    layer.product.replace_input_with(1, _scaled(graph, layer.weight, scale, shape=[layer.n_in, layer.n_out]))
    if layer.add is not None and layer.bias is not None:
        place = list(layer.add.inputs).index(layer.bias)
        layer.add.replace_input_with(place, _scaled(graph, layer.bias, scale, shape=[layer.n_out]))
    attention.attributes["scale"] = ir.AttrFloat32("scale", 1.0)
    return True


def _queries(attention: ir.Node) -> LinearLayer | None:
    """The product that makes nothing but this operator's queries."""
    value = input_of(attention, 0)
    while value is not None and _is_read_once(value):
        reshape = producer(value, "Reshape")
        if reshape is None:
            return _layer_of(value)
        value = input_of(reshape, 0)
    return None


def _is_read_once(value: ir.Value) -> bool:
    """Whether its numbers are; its lengths may be asked for."""
    readers = [use.node for use in value.uses() if not is_op(use.node, "Shape")]
    return len(readers) == 1 and not value.is_graph_output()


def _layer_of(output: ir.Value) -> LinearLayer | None:
    """The layer that gives `output`, if its weight is used by it alone and as it lies."""
    product = output.producer()
    if product is not None and is_op(product, "Add"):
        operands = constant_operand(product)
        product = None if operands is None else operands[1].producer()
    layer = None if product is None or not is_op(product, "MatMul") else linear_layer(product)
    if layer is None or layer.output is not output or product is None or input_of(product, 1) is not layer.weight:
        return None
    return layer if len(tuple(layer.weight.uses())) == 1 else None


def _scaled(graph: ir.Graph, constant: ir.Value, scale: float, *, shape: list[int]) -> ir.Value:
    def multiply(array: np.ndarray) -> np.ndarray:
        return np.asarray(array * np.float32(scale), np.float32)

    return derive_initializer(graph, f"{constant.name}_scaled", [constant], multiply, shape=shape)
