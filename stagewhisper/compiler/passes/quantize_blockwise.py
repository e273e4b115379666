"""Weights in 8 or 4 bits with a scale for each block of a row: fewest bytes per step, where bytes are the time.

    before   x ─► MatMul(weight) ─► Add(bias)
    after    x ─► MatMulNBits(integers, scales, [zero points], bias)

    before   tokens ─► Gather(embedding)                          x ─► MatMul(Transpose(embedding))
    after    tokens ─► GatherBlockQuantized(integers, scales)     x ─► MatMulNBits(Reshape(integers), scales)

Activations are quantised to int8 inside the product (accuracy level 4), each row and block by itself, so no sequence of
a batch changes another one's scales. The kernel adds in another order for one row than for several, though, and behind
such a product the next rounding may jump: logits of nano in int8 moved by up to 1 % of the largest with five beams, and
no token did. Declines where the weight is no float32 constant matrix, and for what `keep`
names. The embedding stays float32 where its rows are not whole blocks.

Integers are the nearest ones, or with `rounding="calibrated"` those that change the layer's outputs least on inputs
that the model was seen to have (`calibrated_rounding`, `sampled_inputs`): with 4 bits, the outputs of nano's layers
were off by less than half as much.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.calibrated_rounding import round_for_inputs
from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    derive_initializer,
    new_op,
    remove_unused,
    replace_value,
    source_names,
)
from stagewhisper.compiler.linear_layers import BALANCED, LinearLayer, linear_layers, token_rows
from stagewhisper.compiler.quantization import Bits, BlockGrid, block_grid, pack, quantize_blocks
from stagewhisper.compiler.sampled_inputs import SampledInputs, sampled_inputs_of
from stagewhisper.errors import CompilerError, OptionError

INT8_ACTIVATIONS: Literal[4] = 4
"""The accuracy level: with level 1, activations in float32, the 8-bit kernel is twenty times slower."""

TOLERANCE = 0.75
"""What 4-bit weights may do to outputs: on trained weights 0.63 was seen with blocks of 128 and 0.42 with 32. Recipes
set less for 8 bits, where it was 0.06. Products gone wrong are off by about 1."""


@declares(tolerance=TOLERANCE)
def quantize_blockwise(
    graph: ir.Graph,
    *,
    only: Sequence[str] = ("*",),
    keep: Sequence[str] = (),
    bits: Bits = 8,
    block_size: Literal[16, 32, 64, 128, 256] = 128,
    symmetric: bool = True,
    accuracy_level: Literal[0, 4] = INT8_ACTIVATIONS,
    rounding: Literal["nearest", "calibrated"] = "nearest",
    share_embedding: bool = True,
) -> int:
    """Turn products with constant weights into MatMulNBits; returns how many.

    `only` and `keep` are glob patterns on the weights' or nodes' names; "vocabulary" is the projection onto tokens.
    `symmetric=False` gives every block a zero point. `share_embedding` reads tokens from the projection's integers, so
    that they are stored once.

    Raises:
        OptionError: inputs to round for are not known.
        CompilerError: those of one layer are not known.
    """
    sampled = sampled_inputs_of(graph) if rounding == "calibrated" else None
    if rounding == "calibrated" and sampled is None:
        raise OptionError(
            "rounding is 'calibrated', and no inputs were sampled for this graph: they are for a compiled model's "
            "decoder. Choose 'nearest'."
        )
    layers = list(linear_layers(graph, only=only, keep=keep))
    for layer in layers:
        grid = _Grid(layer, bits, block_size, symmetric=symmetric, sampled=sampled)
        _quantize(graph, layer, grid, accuracy_level=accuracy_level, share=share_embedding)
    return len(layers)


class _Grid:
    """How one weight is quantised; scales are searched for the first time they are needed."""

    def __init__(
        self, layer: LinearLayer, bits: Bits, block_size: int, *, symmetric: bool, sampled: SampledInputs | None
    ) -> None:
        """`sampled` holds inputs to round for; without it, integers are the nearest ones.

        Raises:
            CompilerError: there are none for this layer.
        """
        self._layer, self.bits, self.block_size, self.symmetric = layer, bits, block_size, symmetric
        self._sampled, (self._source, *_) = sampled, source_names(layer.weight)
        if sampled is not None and BALANCED in (layer.weight.name or ""):
            raise CompilerError(
                f"{layer.weight.name!r} takes other inputs than those that were sampled, since balance_layer_norm has "
                f"scaled them. Leave that pass out, or choose rounding 'nearest'."
            )
        if sampled is not None and self._source not in sampled:
            raise CompilerError(
                f"No inputs of {self._source!r} were sampled, so it cannot be rounded for them. Name it in `keep`, or "
                f"choose rounding 'nearest'."
            )
        self.n_blocks = -(-layer.n_in // block_size)
        self._found: BlockGrid | None = None

    def scales(self, weight: np.ndarray) -> np.ndarray:
        """[n_out, n_blocks]."""
        return self._grid(weight).scales

    def zero_points(self, weight: np.ndarray) -> np.ndarray:
        """[n_out, n_blocks in bytes]."""
        return pack(self._grid(weight).stored_zero_points(), self.bits)

    def integers(self, weight: np.ndarray) -> np.ndarray:
        """[n_out, n_blocks, bytes of a block]."""
        rows, grid = self._layer.rows(weight), self._grid(weight)
        if self._sampled is None:
            return pack(quantize_blocks(rows, grid), self.bits)
        return pack(round_for_inputs(rows, grid, self._sampled.of(self._source)), self.bits)

    def _grid(self, weight: np.ndarray) -> BlockGrid:
        if self._found is None:
            self._found = block_grid(
                self._layer.rows(weight), bits=self.bits, block_size=self.block_size, symmetric=self.symmetric
            )
        return self._found


def _quantize(graph: ir.Graph, layer: LinearLayer, grid: _Grid, *, accuracy_level: int, share: bool) -> None:
    whole_blocks = layer.n_in % grid.block_size == 0
    rows = token_rows(layer, graph) if share and whole_blocks else []
    integers, scales, zeros = _constants(graph, layer, grid, flat=bool(rows))
    for gather in rows:
        _gather_blocks(graph, gather, [integers, scales, zeros], grid)
    place = layer.add or layer.product  # a bias may be a Constant node that stands after the product
    if rows:
        blocks = add_initializer(graph, f"{layer.name}.blocks", np.array([layer.n_out, grid.n_blocks, -1]))
        integers = new_op(graph, place, "Reshape", integers, blocks)
    output = new_op(
        graph,
        place,
        "MatMulNBits",
        *_without_trailing([layer.x, integers, scales, zeros, None, layer.bias]),
        domain=MICROSOFT,
        name=f"{layer.product.name}_int{grid.bits}" if layer.product.name else "",
        K=layer.n_in,
        N=layer.n_out,
        bits=grid.bits,
        block_size=grid.block_size,
        accuracy_level=accuracy_level,
    )
    replace_value(graph, layer.output, output)
    remove_unused(graph, place, *rows)


def _constants(
    graph: ir.Graph, layer: LinearLayer, grid: _Grid, *, flat: bool
) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """Integers [n_out, n_blocks, bytes of a block], or [n_out, bytes of a row] if `flat`; scales; zero points.

    ONNX Runtime turns a Reshape of the integers into a constant when it loads the graph, packs that for the product and
    drops it. The other way round, it would keep what it reshaped for the Gather.
    """
    weight, shape = [layer.weight], [layer.n_out, grid.n_blocks]
    n_bytes = grid.block_size * grid.bits // 8
    name, uint8 = f"{layer.name}.int{grid.bits}", ir.DataType.UINT8
    whole = [layer.n_out, grid.n_blocks * n_bytes] if flat else [*shape, n_bytes]

    def read(array: np.ndarray) -> np.ndarray:
        return grid.integers(array).reshape(whole)

    integers = derive_initializer(graph, name, weight, read, shape=whole, dtype=uint8)
    scales = derive_initializer(graph, f"{name}.scales", weight, grid.scales, shape=shape)
    if grid.symmetric:
        return integers, scales, None
    packed = [layer.n_out, -(-grid.n_blocks * grid.bits // 8)]
    return (
        integers,
        scales,
        derive_initializer(graph, f"{name}.zeros", weight, grid.zero_points, shape=packed, dtype=uint8),
    )


def _gather_blocks(graph: ir.Graph, gather: ir.Node, constants: Sequence[ir.Value | None], grid: _Grid) -> None:
    integers, *others = constants
    rows = new_op(
        graph,
        gather,
        "GatherBlockQuantized",
        *_without_trailing([integers, gather.inputs[1], *others]),
        domain=MICROSOFT,
        bits=grid.bits,
        block_size=grid.block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    replace_value(graph, gather.outputs[0], rows)


def _without_trailing(inputs: list[ir.Value | None]) -> list[ir.Value | None]:
    """The inputs without those left out at the end."""
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    return inputs
