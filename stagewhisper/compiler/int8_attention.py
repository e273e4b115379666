"""One head's attention on 8-bit integers, as the body of a Scan over the heads of all windows.

    q ─► DynamicQuantizeLinear ─────────────────► uint8 ┐
    k ─► Sub(mean) ─► QuantizeLinear ─► Transpose ─► int8 ┴► MatMulIntegerToFloat ─► Exp ─► e [rows, n_frames]
    e ─► QuantizeLinear(largest of each row / 255) ─► uint8 ┐
    v ─► Sub(mean) ─► QuantizeLinear ───────────────► int8 ┴► MatMulIntegerToFloat ─► Mul(1 / Σ e) ─► Add(mean) ─► y

Why the means: all scores of a row change by the same number when one key is taken from all keys, which softmax does not
see; without their mean, keys need fewer steps, and a row's largest score is not below 0, so Exp needs no look for
it first. And what a row's small weights lose when they are rounded to 0 is, by and large, an average value: without
the mean, that is nothing. (On nano's real queries, keys and values the error is 0.6 % with the means, 1.7 % without.)

Exp must not overflow: where |q|·|k| says that scores may exceed 80, they are lowered by what is beyond, by 80 at most.
So scores of up to 160 are right; of higher ones, the result is finite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_constants import GraphConstants
from stagewhisper.compiler.graph_tools import MICROSOFT
from stagewhisper.compiler.quantization import INT8_LEVELS, TINY_SCALE, UINT8_LEVELS

SAFE_SCORE = 80.0
"""exp(80) is 5.5e34: 6,000 of them can be added up in float32."""

MOST = 3e38
"""About float32's largest number."""


@dataclass(frozen=True)
class HeadShape:
    """Lengths of one head's queries, keys and values, all [n_frames, head_dim]."""

    n_frames: int
    head_dim: int
    scale: float
    """Factor of the scores."""
    n_rows: int
    """Queries that are worked on at a time, so that their scores stay in the cache."""

    @property
    def splits(self) -> list[int]:
        """Numbers of queries, block after block, as equal as can be."""
        n_blocks = -(-self.n_frames // self.n_rows)
        short, longer = divmod(self.n_frames, n_blocks)
        return [short + 1] * longer + [short] * (n_blocks - longer)


def attention_body(name: str, shape: HeadShape, constants: GraphConstants) -> ir.Graph:
    """q, k, v → y, all float32 [n_frames, head_dim]; values inside are called after `name`."""
    lengths = [shape.n_frames, shape.head_dim]
    q, k, v = (ir.val(f"{name}_{letter}", ir.DataType.FLOAT, lengths) for letter in "qkv")
    body = _Body(name, shape, constants)
    k_centred, _ = body.centred(k)
    v_centred, v_mean = body.centred(v)
    k_integers, k_scale = body.int8(k_centred, by_channel=False)
    v_integers, v_scale = body.int8(v_centred, by_channel=True)
    scaled = body.op("Mul", k_scale, constants.number("scale", shape.scale))
    keys = (body.op("Transpose", k_integers, perm=[1, 0]), scaled)
    lowered = body.lowered_by(q, k_centred)
    queries, q_scale, q_zero = body.ops("DynamicQuantizeLinear", q, n_outputs=3)
    blocks = []
    for rows in body.split(queries):
        scores = body.product((rows, q_scale, q_zero), keys, bias=lowered)
        blocks.append(body.weighted(body.op("Exp", scores), (v_integers, v_scale)))
    joined = blocks[0] if len(blocks) == 1 else body.op("Concat", *blocks, axis=0)
    y = body.op("Add", joined, v_mean)
    y.type, y.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(lengths)
    return ir.Graph([q, k, v], [y], nodes=body.nodes, opset_imports=constants.opset_imports, name=f"{name}_body")


class _Body:
    """Collects the nodes of a body."""

    def __init__(self, name: str, shape: HeadShape, constants: GraphConstants) -> None:
        self._name, self._shape, self._constants = name, shape, constants
        self.nodes: list[ir.Node] = []

    def op(self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: int | list[int]) -> ir.Value:
        (output,) = self.ops(op_type, *inputs, n_outputs=1, domain=domain, attributes=attributes)
        return output

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        n_outputs: int,
        domain: str = "",
        attributes: Mapping[str, int | list[int]] | None = None,
    ) -> Sequence[ir.Value]:
        node = ir.node(op_type, list(inputs), attributes or {}, domain=domain, num_outputs=n_outputs)
        node.name = f"{self._name}_{len(self.nodes)}"
        for index, output in enumerate(node.outputs):
            output.name = f"{node.name}_{index}"
        self.nodes.append(node)
        return node.outputs

    def centred(self, x: ir.Value) -> tuple[ir.Value, ir.Value]:
        """x less its mean over the frames, and that mean, [1, head_dim]."""
        mean = self.op("ReduceMean", x, self._constants.axes(0), keepdims=1)
        return self.op("Sub", x, mean), mean

    def int8(self, x: ir.Value, *, by_channel: bool) -> tuple[ir.Value, ir.Value]:
        """(integers, scale []) with which the largest |x| becomes 127; or scales [head_dim], one for each channel."""
        axes = self._constants.axes(0) if by_channel else self._constants.axes(0, 1)
        largest = self.op("ReduceMax", self.op("Abs", x), axes, keepdims=0)
        scale = self.op("Mul", largest, self._constants.number("one_127th", 1 / INT8_LEVELS))
        scale = self.op("Max", scale, self._constants.number("least_scale", float(TINY_SCALE)))
        zero = self._constants.get("int8_zero", np.array(0, np.int8))
        if not by_channel:
            return self.op("QuantizeLinear", x, scale, zero), scale
        # Not with an axis: QuantizeLinear would then take the numbers one by one, which is a hundred times as slow.
        return self.op("QuantizeLinear", self.op("Div", x, scale), self._constants.number("one", 1), zero), scale

    def lowered_by(self, q: ir.Value, k: ir.Value) -> ir.Value:
        """[n_frames], the same number in all: 0, or less where the longest query and key could make Exp overflow."""
        longest = [
            self.op("ReduceMax", self.op("ReduceL2", x, self._constants.axes(1), keepdims=0), keepdims=0)
            for x in (q, k)
        ]
        bound = self.op("Mul", self.op("Mul", *longest), self._constants.number("size", abs(self._shape.scale)))
        safe = self._constants.get("safe_scores", np.full(self._shape.n_frames, SAFE_SCORE, np.float32))
        lowered = self.op("Min", self.op("Sub", safe, bound), self._constants.number("zero", 0))
        # The bound is a rough one, and what a row's largest score of 0 becomes has to stay above 0 in float32.
        return self.op("Max", lowered, self._constants.number("lowest", -SAFE_SCORE))

    def split(self, queries: ir.Value) -> Sequence[ir.Value]:
        sizes = self._shape.splits
        if len(sizes) == 1:
            return [queries]
        return self.ops(
            "Split",
            queries,
            self._constants.get("splits", np.array(sizes)),
            n_outputs=len(sizes),
            attributes={"axis": 0},
        )

    def product(
        self,
        left: tuple[ir.Value, ir.Value, ir.Value | None],
        right: tuple[ir.Value, ir.Value],
        *,
        bias: ir.Value | None = None,
    ) -> ir.Value:
        """(integers, scale, zero point) · (integers, scale) + bias, in float32."""
        inputs = [left[0], right[0], left[1], right[1], left[2], None, bias]
        while inputs[-1] is None:
            inputs.pop()
        return self.op("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)

    def weighted(self, exps: ir.Value, values: tuple[ir.Value, ir.Value]) -> ir.Value:
        """Rows of `exps` over their sums, times the values."""
        columns, least = self._constants.axes(1), self._constants.number("least_scale", float(TINY_SCALE))
        most = self._constants.number("most", MOST)  # what overflowed all the same must not divide itself
        largest = self.op("Min", self.op("ReduceMax", exps, columns, keepdims=0), most)
        step = self.op("Mul", largest, self._constants.number("one_255th", 1 / UINT8_LEVELS))
        step = self.op("Max", step, least)  # a row that is 0 throughout must not divide by 0
        total = self.op("Min", self.op("ReduceSum", exps, columns, keepdims=0), most)
        total = self.op("Max", total, least)
        weights = self.op("QuantizeLinear", exps, step, axis=0)
        y = self.product((weights, self._constants.number("one", 1), None), values)
        return self.op("Mul", y, self.op("Unsqueeze", self.op("Div", step, total), columns))
