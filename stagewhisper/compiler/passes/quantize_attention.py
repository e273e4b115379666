"""The encoder's attention in int8: both of its products run on the CPU's 8-bit instructions.

    before   q, k, v ─► MultiHeadAttention ─► y
    after    k ─► / its channels' scales ─► int8 ─────────────────────────┐
             q · these scales ─► uint8 ─► Split into blocks of rows ─► MatMulIntegerToFloat ─► Softmax
                 ─► uint8, each row by its own largest weight ─► MatMulIntegerToFloat ─► · row's scale ─┐
             v ─► / its channels' scales ─► int8 ────────────────┘          Concat ─► · channels' scales ─► y

Where the precision comes from: a key's channels have scales of their own, which q takes over, and so do the channels
of v. Each row of attention is rounded by its own largest weight, so that a row that looks everywhere is kept as well
as one that looks at one place. All scales come from the window itself; nothing is calibrated.

Where the speed comes from: rows are worked on in blocks, so that a block's scores stay in the core's cache between the
operators. For Whisper's 1500 frames this takes about half the time that MultiHeadAttention takes in float32.

Declines for the decoder (a cache, a mask, lengths that are not fixed) and for what is not float32.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    attribute_of,
    input_of,
    new_node,
    new_op,
    nodes_of,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes, note_shape
from stagewhisper.compiler.quantization import INT8_LEVELS, TINY_SCALE

TOLERANCE = 0.1
UINT8_LEVELS = 255
MIDDLE = 128
"""The unsigned integer that stands for zero."""
ROWS_TOGETHER = 20
"""Frames that the first step of a maximum looks at; one ReduceMax over all of them takes ten times as long."""


@declares(tolerance=TOLERANCE)
def quantize_attention(graph: ir.Graph, *, block_rows: int = 100) -> int:
    """Turn MultiHeadAttention over a fixed number of frames into products of integers; returns how many.

    `block_rows` is about how many queries are worked on at a time; the nearest divisor of the frames is taken.
    """
    shapes, constants = infer_shapes(graph), _Constants(graph)
    found = [node for node in nodes_of(graph, "MultiHeadAttention", domain=MICROSOFT) if _fits(node, shapes)]
    for node in found:
        _Rewrite(graph, node, shapes, constants, block_rows=block_rows).run()
    return len(found)


def _fits(node: ir.Node, shapes: InferredShapes) -> bool:
    operands = [input_of(node, index) for index in range(3)]
    alone = not any(value is not None for value in node.inputs[3:]) and not any(
        value.uses() or value.is_graph_output() for value in node.outputs[1:]
    )
    dims = [shapes.dims(value) for value in operands]
    fixed = all(found is not None and len(found) == 3 and isinstance(found[1], int) for found in dims)
    same = fixed and len({found[1:] for found in dims if found is not None}) == 1
    floats = all(shapes.dtype(value) is ir.DataType.FLOAT for value in operands if value is not None)
    return alone and same and floats and not attribute_of(node, "unidirectional", 0)


class _Constants:
    """Small constants, each made once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[tuple[str, tuple[float, ...]], ir.Value] = {}

    def __call__(self, numbers: float | Sequence[int], dtype: type[np.generic]) -> ir.Value:
        array = np.array(numbers, dtype)
        key = array.dtype.name, (array.ndim, *array.ravel().tolist())
        if key not in self._made:
            self._made[key] = add_initializer(self._graph, f"const_{array.dtype}_{len(self._made)}", array)
        return self._made[key]


class _Rewrite:
    """One attention; values are [n_audio, n_frames, n_state] or, by head, [n_audio, n_head, n_frames, head_dim]."""

    def __init__(
        self, graph: ir.Graph, node: ir.Node, shapes: InferredShapes, constants: _Constants, *, block_rows: int
    ) -> None:
        self.graph, self.node, self.shapes, self.constant = graph, node, shapes, constants
        self.n_head = int(attribute_of(node, "num_heads"))
        dims = shapes.dims(input_of(node, 0)) or ()
        self.n_frames, self.n_state = (int(length) for length in dims[1:] if isinstance(length, int))
        self.head_dim = self.n_state // self.n_head
        self.n_rows = _nearest_divisor(self.n_frames, block_rows)
        self.scale = float(attribute_of(node, "scale", 0.0)) or self.head_dim**-0.5

    def run(self) -> None:
        q, k, v = (input_of(self.node, index) for index in range(3))
        assert q is not None  # noqa: S101  `_fits` looked
        assert k is not None  # noqa: S101
        assert v is not None  # noqa: S101
        key_scales, value_scales = self._channel_scales(k), self._channel_scales(v)
        keys = self._by_head(self._int8(k, key_scales), [0, 2, 3, 1])
        values = self._by_head(self._int8(v, value_scales), [0, 2, 1, 3])
        queries, score_scale = self._queries(self._op("Mul", q, key_scales))
        heard = [self._block(rows, keys, values, score_scale) for rows in self._split(queries)]
        joined = self._op("Concat", *heard, axis=2) if len(heard) > 1 else heard[0]
        rows = self._op("Reshape", self._op("Transpose", joined, perm=[0, 2, 1, 3]), self._lengths(0, 0, self.n_state))
        output = self._op("Mul", rows, value_scales)
        note_shape(output, self.shapes, like=q)
        replace_value(self.graph, self.node.outputs[0], output)
        remove_unused(self.graph, self.node)

    def _block(self, queries: ir.Value, keys: ir.Value, values: ir.Value, score_scale: ir.Value) -> ir.Value:
        """What some rows of queries hear, in units of the values' scales."""
        one, zero = self._float(1), self.constant(0, np.uint8)
        middle = self.constant(MIDDLE, np.uint8)
        scores = self._product(queries, keys, score_scale, one, middle)
        weights = self._op("Reshape", self._op("Softmax", scores, axis=-1), self._lengths(-1, self.n_frames))
        largest = self._op("ReduceMax", weights, self._lengths(-1), keepdims=0)
        scales = self._op("Mul", largest, self._float(1 / UINT8_LEVELS))
        integers = self._op("QuantizeLinear", weights, scales, axis=0)
        integers = self._op("Reshape", integers, self._lengths(-1, self.n_head, self.n_rows, self.n_frames))
        heard = self._product(integers, values, one, one, zero)
        return self._op("Mul", heard, self._op("Reshape", scales, self._lengths(-1, self.n_head, self.n_rows, 1)))

    def _queries(self, q: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The queries by head in uint8, and what turns their products with the keys into scores."""
        largest = self._op("ReduceMax", self._largest_by_channel(q), keepdims=0)
        largest = self._op("Max", largest, self._float(TINY_SCALE * INT8_LEVELS))
        scale = self._op("Mul", largest, self._float(1 / INT8_LEVELS))
        integers = self._op("QuantizeLinear", q, scale, self.constant(MIDDLE, np.uint8))
        return self._by_head(integers, [0, 2, 1, 3]), self._op("Mul", scale, self._float(self.scale))

    def _channel_scales(self, x: ir.Value) -> ir.Value:
        """Largest |x| of each channel / 127: [n_audio, 1, n_state]."""
        scales = self._op("Mul", self._largest_by_channel(x), self._float(1 / INT8_LEVELS))
        return self._op("Max", scales, self._float(TINY_SCALE))

    def _largest_by_channel(self, x: ir.Value) -> ir.Value:
        """[n_audio, 1, n_state]."""
        together = _nearest_divisor(self.n_frames, ROWS_TOGETHER)
        groups = self._lengths(0, self.n_frames // together, together, self.n_state)
        largest = self._op("Reshape", self._op("Abs", x), groups)
        largest = self._op("ReduceMax", largest, self._lengths(2), keepdims=0)
        return self._op("ReduceMax", largest, self._lengths(1), keepdims=1)

    def _int8(self, x: ir.Value, scales: ir.Value) -> ir.Value:
        return self._op("QuantizeLinear", self._op("Div", x, scales), self._float(1), self.constant(0, np.int8))

    def _by_head(self, x: ir.Value, perm: list[int]) -> ir.Value:
        return self._op("Transpose", self._op("Reshape", x, self._lengths(0, 0, self.n_head, self.head_dim)), perm=perm)

    def _split(self, queries: ir.Value) -> list[ir.Value]:
        n_blocks = self.n_frames // self.n_rows
        if n_blocks == 1:
            return [queries]
        lengths = self._lengths(*[self.n_rows] * n_blocks)
        return list(new_node(self.graph, self.node, "Split", queries, lengths, n_outputs=n_blocks, axis=2).outputs)

    def _product(self, a: ir.Value, b: ir.Value, a_scale: ir.Value, b_scale: ir.Value, a_zero: ir.Value) -> ir.Value:
        inputs = (a, b, a_scale, b_scale, a_zero)
        return new_op(self.graph, self.node, "MatMulIntegerToFloat", *inputs, domain=MICROSOFT)

    def _op(self, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return new_op(self.graph, self.node, op_type, *inputs, **attributes)

    def _float(self, number: float | np.floating) -> ir.Value:
        return self.constant(float(number), np.float32)

    def _lengths(self, *numbers: int) -> ir.Value:
        return self.constant(numbers, np.int64)


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    return min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor))
