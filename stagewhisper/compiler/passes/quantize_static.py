"""Weights in int8, and activations in uint8 whose ranges were found beforehand, on recordings.

    before   x ─► MatMul(weight) ─► Add(bias)
    after    x ─► QuantizeLinear(scale, zero point) ─► MatMulIntegerToFloat(int8 weight, scales, bias)

What dynamic quantisation does in every call, looking for the smallest and largest number of x, is done once, at compile
time; products of the same x, like a query's, key's and value's, share one QuantizeLinear. Activations beyond the range
are clipped.

MatMulIntegerToFloat rather than QLinearMatMul: what follows a product in Whisper, a sum, a softmax or a GELU, wants
float32, and its kernel scales the sums while they are still in the cache.

Declines for graphs that take anything but a log-Mel: a decoder's calls have few rows, whose range costs nothing to
find, and what they hold depends on the tokens so far.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.activation_range import Method, Range
from stagewhisper.compiler.calibration import activation_ranges, mel_input
from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_tools import MICROSOFT, add_initializer, new_op, remove_unused, replace_value
from stagewhisper.compiler.int8_weight import Int8Weight
from stagewhisper.compiler.linear_layers import LinearLayer, linear_layers
from stagewhisper.errors import OptionError

TOLERANCE = 0.25


@declares(tolerance=TOLERANCE)
def quantize_static(
    graph: ir.Graph,
    *,
    only: Sequence[str] = ("*",),
    keep: Sequence[str] = (),
    recordings: Sequence[str] = (),
    method: Method = "percentile",
    percentile: float = 99.999,
    per_channel: bool = True,
    reduce_range: bool = False,
) -> int:
    """Turn an encoder's products with constant weights into MatMulIntegerToFloat; returns how many.

    `recordings` are audio files to find the activations' ranges on; without any, the project's own is taken, in
    several volumes and noises. `method` is "minmax", "percentile" or "entropy". `only`, `keep`, `per_channel` and
    `reduce_range` are those of `quantize_dynamic`.

    Raises:
        AudioError: a recording cannot be read.
        OptionError: `percentile` makes no sense.
        CompilerError: the graph cannot be run.
    """
    if not 50 < percentile <= 100:
        raise OptionError(f"percentile is {percentile}. Give the share of values to keep: above 50, up to 100.")
    layers = list(linear_layers(graph, only=only, keep=keep))
    if mel_input(graph) is None or not layers:
        return 0
    activations = list({id(layer.x): layer.x for layer in layers}.values())
    ranges = activation_ranges(graph, activations, recordings=recordings, method=method, percentile=percentile)
    quantized = _Activations(graph, dict(zip(activations, ranges, strict=True)))
    for layer in layers:
        _quantize(graph, layer, quantized, Int8Weight(layer, per_channel=per_channel, reduce_range=reduce_range))
    return len(layers)


class _Activations:
    """Every activation's integers, made once for all products that read it."""

    def __init__(self, graph: ir.Graph, ranges: dict[ir.Value, Range]) -> None:
        self._graph, self._ranges = graph, ranges
        self._made: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}

    def integers(self, x: ir.Value, before: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value]:
        """(uint8, scale, zero point)."""
        if x not in self._made:
            scale, zero = self._ranges[x].scale_and_zero_point()
            constants = (
                add_initializer(self._graph, f"{x.name}.scale", np.asarray(scale)),
                add_initializer(self._graph, f"{x.name}.zero_point", np.asarray(zero)),
            )
            self._made[x] = (new_op(self._graph, before, "QuantizeLinear", x, *constants), *constants)
        return self._made[x]


def _quantize(graph: ir.Graph, layer: LinearLayer, activations: _Activations, weight: Int8Weight) -> None:
    integers, x_scale, x_zero = activations.integers(layer.x, before=layer.product)
    place = layer.add or layer.product  # a bias may be a Constant node that stands after the product
    int8, scale = weight.columns(graph), weight.scale(graph)
    bias = [] if layer.bias is None else [None, layer.bias]
    inputs = [integers, int8, x_scale, scale, x_zero, *bias]
    name = f"{layer.product.name}_static" if layer.product.name else ""
    output = new_op(graph, place, "MatMulIntegerToFloat", *inputs, domain=MICROSOFT, name=name)
    replace_value(graph, layer.output, output)
    remove_unused(graph, place)
