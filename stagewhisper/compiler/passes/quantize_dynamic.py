"""Weights in int8, activations quantised as they come: products run on the CPU's 8-bit instructions.

    before   x ─► MatMul(weight) ─► Add(bias)
    after    x ─► DynamicQuantizeMatMul(int8 weight, scales, bias)

    before   tokens ─► Gather(embedding)              x ─► MatMul(Transpose(embedding))
    after    tokens ─► Gather(int8 rows) ─► Cast ─►   x ─► DynamicQuantizeMatMul(Transpose(int8 rows), scales)
                       Mul(Gather(scales))

Each column of a weight has a scale of its own. Activations have one scale for the whole tensor, from its smallest and
largest number, so the sequences of a batch influence each other's rounding. Declines where the weight is no float32
constant matrix, and for what `keep` names.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    derive_initializer,
    new_op,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.linear_layers import LinearLayer, linear_layers, token_rows
from stagewhisper.compiler.quantization import column_scales, quantize_columns

TOLERANCE = 0.25
"""What 8 bits for weights and activations may do to outputs; on trained weights, 0.07 was seen with one scale a
column, 0.11 with 7-bit weights and 0.21 with one scale a matrix. Products gone wrong are off by about 1."""


@declares(tolerance=TOLERANCE)
def quantize_dynamic(
    graph: ir.Graph,
    *,
    only: Sequence[str] = ("*",),
    keep: Sequence[str] = (),
    per_channel: bool = True,
    reduce_range: bool = False,
    share_embedding: bool = True,
) -> int:
    """Turn products with constant weights into DynamicQuantizeMatMul; returns how many.

    `only` and `keep` are glob patterns on the weights' or nodes' names; "vocabulary" is the projection onto tokens.
    `reduce_range` leaves one bit of the weights unused: x86 processors without VNNI add pairs of products in 16 bits,
    and would saturate. `share_embedding` reads tokens from the projection's int8 weight, so that it is stored once.
    """
    layers = list(linear_layers(graph, only=only, keep=keep))
    for layer in layers:
        _quantize(graph, layer, per_channel=per_channel, n_levels=63 if reduce_range else 127, share=share_embedding)
    return len(layers)


def _quantize(graph: ir.Graph, layer: LinearLayer, *, per_channel: bool, n_levels: int, share: bool) -> None:
    rows = token_rows(layer, graph) if share else []
    scales = _Scales(layer, per_channel=per_channel, n_levels=n_levels)
    scale = derive_initializer(
        graph, f"{layer.name}.scale", [layer.weight], scales, shape=[layer.n_out] if per_channel else []
    )

    def integers(weight: np.ndarray) -> np.ndarray:
        found = quantize_columns(layer.rows(weight).T, scales(weight), n_levels=n_levels)
        return found.T if rows else found

    shape = [layer.n_out, layer.n_in] if rows else [layer.n_in, layer.n_out]
    int8 = derive_initializer(
        graph, f"{layer.name}.int8", [layer.weight], integers, shape=shape, dtype=ir.DataType.INT8
    )
    place = layer.add or layer.product  # a bias may be a Constant node that stands after the product
    columns = new_op(graph, place, "Transpose", int8, perm=[1, 0]) if rows else int8
    name = f"{layer.product.name}_dynamic" if layer.product.name else ""
    inputs = [layer.x, columns, scale] if layer.bias is None else [layer.x, columns, scale, None, layer.bias]
    output = new_op(graph, place, "DynamicQuantizeMatMul", *inputs, domain=MICROSOFT, name=name)
    replace_value(graph, layer.output, output)
    for gather in rows:
        _gather_int8(graph, gather, int8, scale, per_channel=per_channel)
    remove_unused(graph, place, *rows)


def _gather_int8(graph: ir.Graph, gather: ir.Node, int8: ir.Value, scale: ir.Value, *, per_channel: bool) -> None:
    tokens = gather.inputs[1]
    found = new_op(graph, gather, "Cast", new_op(graph, gather, "Gather", int8, tokens, axis=0), to=ir.DataType.FLOAT)
    if per_channel:
        last = add_initializer(graph, "const_last_axis", np.array([-1]))
        scale = new_op(graph, gather, "Unsqueeze", new_op(graph, gather, "Gather", scale, tokens, axis=0), last)
    replace_value(graph, gather.outputs[0], new_op(graph, gather, "Mul", found, scale))


class _Scales:
    """The scales of one weight, found the first time they are needed."""

    def __init__(self, layer: LinearLayer, *, per_channel: bool, n_levels: int) -> None:
        self._layer, self._per_channel, self._n_levels = layer, per_channel, n_levels
        self._found: np.ndarray | None = None

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        if self._found is None:
            columns = self._layer.rows(weight).T
            self._found = column_scales(columns, per_channel=self._per_channel, n_levels=self._n_levels)
        return self._found
