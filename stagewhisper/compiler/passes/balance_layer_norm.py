"""Give all channels that a layer norm hands to products the same size, and let the weights carry the difference.

    before   x ─► LayerNormalization(scale, bias) ─► MatMul(weight)
    after    x ─► LayerNormalization(scale / s, bias / s) ─► MatMul(s · weight)          s = √(scale² + bias²)

The numbers stay the same, and quantisation gets better on both sides. An activation's 8 bits have one range for all
channels, which its largest channels set: now they are alike. And a weight's rounding errors count by how large their
channel is: now the weight itself has that size, so that an ordinary least-squares fit minimises the output's error.
No recordings are needed, for a normalised channel has the mean square 1, and scale² + bias² after the layer norm.

A token embedding that is tied to the vocabulary projection carries s as well, and its rows are divided by s after
Gather. Declines where the layer norm's output is used by anything but such products, or is an output of the graph.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    constant_of,
    derive_initializer,
    input_of,
    is_op,
    new_op,
    nodes_of,
    tensor_of,
)
from stagewhisper.compiler.linear_layers import BALANCED, LinearLayer, linear_layer, token_rows

LEAST = 1e-3
"""Channels smaller than this share of the largest are left that small: to blow them up would blow up rounding, too."""

ALIKE = 1e-3
"""Sizes that differ from 1 by less are balanced already."""


def balance_layer_norm(graph: ir.Graph) -> int:
    """Divide layer norms by their channels' sizes and multiply the weights behind them; returns how many."""
    return sum(_balance(graph, norm) for norm in nodes_of(graph, "LayerNormalization"))


def _balance(graph: ir.Graph, norm: ir.Node) -> bool:
    sizes = _sizes(norm)
    layers = _layers_behind(norm)
    if sizes is None or not layers or np.allclose(sizes, 1, atol=ALIKE):
        return False
    weights = {id(layer.weight): layer for layer in layers}.values()
    if not all(_is_read_by_these_only(layer, layers, graph) for layer in weights):
        return False
    for index, name in ((1, "scale"), (2, "bias")):
        constant = constant_of(input_of(norm, index))
        if constant is not None:
            norm.replace_input_with(index, add_initializer(graph, f"{norm.outputs[0].name}.{name}", constant / sizes))
    for layer in weights:
        _multiply(graph, layer, sizes)
    return True


def _sizes(norm: ir.Node) -> np.ndarray | None:
    """Root mean square of every channel of the norm's output, or None where it is not constant or not float32."""
    scale, bias = constant_of(input_of(norm, 1)), constant_of(input_of(norm, 2))
    if scale is None or scale.dtype != np.float32 or scale.ndim != 1:
        return None
    if attribute_of(norm, "axis", -1) != -1 or (bias is None and input_of(norm, 2) is not None):
        return None
    sizes = np.sqrt(scale**2 + (0 if bias is None else bias**2))
    return np.maximum(sizes, LEAST * sizes.max()).astype(np.float32) if sizes.max() > 0 else None


def _layers_behind(norm: ir.Node) -> list[LinearLayer]:
    """The products that read the norm's output, if nothing else does."""
    output = norm.outputs[0]
    layers = [linear_layer(use.node) for use in output.uses()]
    found = [layer for layer in layers if layer is not None and layer.x is output]
    others_used = any(other.uses() or other.is_graph_output() for other in norm.outputs[1:])
    return [] if output.is_graph_output() or others_used or len(found) != len(layers) else found


def _is_read_by_these_only(layer: LinearLayer, layers: Sequence[LinearLayer], graph: ir.Graph) -> bool:
    """Whether the weight is read by no other products; a token embedding may be read by rows."""
    products = {id(other.product) for other in layers if other.weight is layer.weight}
    rows = {id(node) for node in token_rows(layer, graph) if not node.outputs[0].is_graph_output()}
    for use in layer.weight.uses():
        readers = [inner.node for inner in use.node.outputs[0].uses()] if is_op(use.node, "Transpose") else [use.node]
        if not all(id(reader) in products | rows for reader in readers):
            return False
    return not layer.weight.is_graph_output()


def _multiply(graph: ir.Graph, layer: LinearLayer, sizes: np.ndarray) -> None:
    rows = token_rows(layer, graph)

    def balanced(weight: np.ndarray) -> np.ndarray:
        return np.asarray(weight * (sizes if layer.transposed else sizes[:, None]), np.float32)

    old, tensor = layer.weight, tensor_of(layer.weight)
    assert tensor is not None  # noqa: S101  a layer's weight is a constant
    new = derive_initializer(graph, f"{old.name}{BALANCED}", [old], balanced, shape=tensor.shape.numpy())
    old.replace_all_uses_with(new)
    if old.is_initializer() and old.name is not None:
        graph.initializers.pop(old.name)
    if rows:
        inverse = add_initializer(graph, f"{old.name}.inverse", 1 / sizes)
        for gather in rows:
            _divide(graph, gather, inverse)


def _divide(graph: ir.Graph, gather: ir.Node, inverse: ir.Value) -> None:
    output = gather.outputs[0]
    users = [(use.node, use.idx) for use in output.uses()]
    following = next(node for node in graph if node in {user for user, _ in users})
    product = new_op(graph, following, "Mul", output, inverse)
    for user, index in users:
        user.replace_input_with(index, product)
