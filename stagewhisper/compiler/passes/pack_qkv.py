"""Multiply by the weights of queries, keys and values at once.

    before   x ─► MatMul Wq ─► Add bq ─► q
             x ─► MatMul Wk ───────────► k
             x ─► MatMul Wv ─► Add bv ─► v
    after    x ─► MatMul [Wq Wk Wv] ─► Add [bq 0 bv] ─► Split ─► q, k, v

GroupQueryAttention takes the product as it is, and the Split goes too. (MultiHeadAttention has such a form as well,
but ONNX Runtime's CPU does not know it.) One large product is quantised once and keeps more of the machine busy than
three small ones; in float32, on one thread, it gains little. Run it after the attention is fused and before anything
is quantised. The packed weight is put together when the graph is saved.

Declines where the three do not come from one x, where a weight is no constant matrix, and where the weights differ in
type.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.attention_blocks import attention_blocks
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    constant_operand,
    derive_initializer,
    input_of,
    new_node,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    tensor_of,
)

_KERNELS = ("MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention")


@dataclass(frozen=True)
class _Linear:
    """x·weight + bias."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    product: ir.Node
    output: ir.Value

    @property
    def width(self) -> int:
        return _shape(self.weight)[1]


def pack_qkv(graph: ir.Graph) -> int:
    """Multiply by the weights of queries, keys and values at once; returns how many three became one."""
    packed = 0
    for attention, values in list(_queries_keys_values(graph)):
        layers = [_linear(value) for value in values]
        found = [layer for layer in layers if layer is not None]
        if len(found) == 3 and _can_be_packed(found):
            _pack(graph, found, attention)
            packed += 1
    if packed:
        graph.sort()
    return packed


def _queries_keys_values(graph: ir.Graph) -> Iterator[tuple[ir.Node | None, Sequence[ir.Value | None]]]:
    """(fused operator or None, q, k and v in rows) of every attention in the graph."""
    for node in nodes_of(graph, *_KERNELS, domain=MICROSOFT):
        yield node, [input_of(node, index) for index in range(3)]
    for block in attention_blocks(graph):
        yield None, [operand.rows for operand in (block.query, block.key, block.value)]


def _linear(value: ir.Value | None) -> _Linear | None:
    add = producer(value, "Add")
    operands = constant_operand(add) if add is not None else None
    bias, product_value = operands if operands is not None else (None, value)
    product = producer(product_value, "MatMul")
    if value is None or product is None or (add is not None and only_consumer(product.outputs[0]) is not add):
        return None
    x, weight = product.inputs
    tensor = tensor_of(weight)
    if x is None or weight is None or tensor is None or len(tensor.shape) != 2:
        return None
    if bias is not None and (tuple(_tensor(bias).shape) != (tensor.shape[1],) or _tensor(bias).dtype != tensor.dtype):
        return None
    return _Linear(x, weight, bias, product, value)


def _can_be_packed(layers: Sequence[_Linear]) -> bool:
    first = layers[0]
    different = len({layer.output for layer in layers}) == len(layers)
    one_x = all(layer.x is first.x for layer in layers)
    types = {_tensor(layer.weight).dtype for layer in layers}
    return different and one_x and len(types) == 1 and not any(layer.output.is_graph_output() for layer in layers)


def _pack(graph: ir.Graph, layers: Sequence[_Linear], attention: ir.Node | None) -> None:
    before = layers[0].product
    packed = new_op(graph, before, "MatMul", layers[0].x, _packed_weight(graph, layers))
    if any(layer.bias is not None for layer in layers):
        packed = new_op(graph, before, "Add", packed, _packed_bias(graph, layers))
    olds = [layer.output.producer() for layer in layers]
    if attention is not None and _takes_packed(attention, layers):
        attention.replace_input_with(0, packed)
        attention.replace_input_with(1, None)
        attention.replace_input_with(2, None)
    else:
        sizes = add_initializer(graph, "qkv_widths", np.asarray([layer.width for layer in layers]))
        split = new_node(graph, before, "Split", packed, sizes, n_outputs=3, axis=-1)
        for layer, value in zip(layers, split.outputs, strict=True):
            replace_value(graph, layer.output, value)
    remove_unused(graph, *(node for node in olds if node is not None))


def _takes_packed(attention: ir.Node, layers: Sequence[_Linear]) -> bool:
    same_width = len({layer.width for layer in layers}) == 1
    alone = all(only_consumer(layer.output) is attention for layer in layers)
    return attention.op_type == "GroupQueryAttention" and same_width and alone


def _packed_weight(graph: ir.Graph, layers: Sequence[_Linear]) -> ir.Value:
    weights = [layer.weight for layer in layers]
    tensor = _tensor(weights[0])
    shape = (_shape(weights[0])[0], sum(layer.width for layer in layers))
    name = f"{weights[0].name}_kv"
    return derive_initializer(graph, name, weights, _side_by_side, shape=shape, dtype=tensor.dtype)


def _packed_bias(graph: ir.Graph, layers: Sequence[_Linear]) -> ir.Value:
    biases = [layer.bias for layer in layers if layer.bias is not None]
    widths = [(layer.width, layer.bias is not None) for layer in layers]

    def compute(*arrays: np.ndarray) -> np.ndarray:
        given = iter(arrays)
        return np.concatenate([next(given) if has else np.zeros(width, arrays[0].dtype) for width, has in widths])

    shape, dtype = (sum(width for width, _ in widths),), _tensor(biases[0]).dtype
    return derive_initializer(graph, f"{biases[0].name}_kv", biases, compute, shape=shape, dtype=dtype)


def _side_by_side(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=1)


def _shape(value: ir.Value) -> list[int]:
    return [int(length) for length in _tensor(value).shape.numpy()]


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    tensor = tensor_of(value)
    assert tensor is not None  # noqa: S101  only constants get here
    return tensor
