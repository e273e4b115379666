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
    new_op,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.int8_weight import Int8Weight
from stagewhisper.compiler.linear_layers import LinearLayer, linear_layers, token_rows

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
        weight = Int8Weight(layer, per_channel=per_channel, reduce_range=reduce_range)
        _quantize(graph, layer, weight, rows=token_rows(layer, graph) if share_embedding else [])
    return len(layers)


def _quantize(graph: ir.Graph, layer: LinearLayer, weight: Int8Weight, *, rows: list[ir.Node]) -> None:
    place = layer.add or layer.product  # a bias may be a Constant node that stands after the product
    scale = weight.scale(graph)
    if rows:
        int8 = weight.rows(graph)
        columns = new_op(graph, place, "Transpose", int8, perm=[1, 0])
        for gather in rows:
            _gather_int8(graph, gather, int8, scale, per_channel=weight.per_channel)
    else:
        columns = weight.columns(graph)
    inputs = [layer.x, columns, scale] if layer.bias is None else [layer.x, columns, scale, None, layer.bias]
    name = f"{layer.product.name}_dynamic" if layer.product.name else ""
    output = new_op(graph, place, "DynamicQuantizeMatMul", *inputs, domain=MICROSOFT, name=name)
    replace_value(graph, layer.output, output)
    remove_unused(graph, place, *rows)


def _gather_int8(graph: ir.Graph, gather: ir.Node, int8: ir.Value, scale: ir.Value, *, per_channel: bool) -> None:
    tokens = gather.inputs[1]
    found = new_op(graph, gather, "Cast", new_op(graph, gather, "Gather", int8, tokens, axis=0), to=ir.DataType.FLOAT)
    if per_channel:
        last = add_initializer(graph, "const_last_axis", np.array([-1]))
        scale = new_op(graph, gather, "Unsqueeze", new_op(graph, gather, "Gather", scale, tokens, axis=0), last)
    replace_value(graph, gather.outputs[0], new_op(graph, gather, "Mul", found, scale))
