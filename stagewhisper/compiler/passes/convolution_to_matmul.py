"""Multiply windows of frames by a matrix instead of convolving them: products can be quantised, and need no Transpose.

    before   mel [n_audio, n_mels, n_frames] ─► Conv ─► Gelu ─► Conv (stride 2) ─► Gelu ─► Transpose ─► x
    after    mel ─► Transpose ─► three frames side by side ─► MatMul ─► Add ─► Gelu
                              ─► three frames side by side, every second ─► MatMul ─► Add ─► Gelu ─► x

A convolution whose output is turned over anyway, frames first, is a product of [.., n_frames, 3 · n_in] with
[3 · n_in, n_out]. With stride 2, two of the three frames lie side by side already.

Declines unless every Conv has three taps, one frame of padding on either side and stride 1, or 2 on an even number of
frames, only elementwise operators stand behind it, and the last one's output goes through that Transpose and nowhere
else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    derive_initializer,
    input_of,
    is_op,
    new_op,
    nodes_of,
    only_consumer,
    remove_unused,
    replace_value,
    static_dim,
    tensor_of,
    use_domain,
)

_ELEMENTWISE = ("Gelu", "Relu")
_TAPS = 3


@dataclass(frozen=True)
class _Conv:
    """One convolution, and the elementwise operators behind it."""

    node: ir.Node
    stride: int
    n_in: int
    n_out: int
    behind: tuple[ir.Node, ...]


def convolution_to_matmul(graph: ir.Graph) -> int:
    """Turn chains of convolutions that end in a Transpose into products; returns how many convolutions there were."""
    count = 0
    for turn in nodes_of(graph, "Transpose"):
        chain = _chain(turn) if attribute_of(turn, "perm") == [0, 2, 1] else []
        if chain:
            _rewrite(graph, chain, turn)
            count += len(chain)
    return count


def _chain(turn: ir.Node) -> list[_Conv]:
    """The convolutions before a Transpose, in order; none if there is one that is not as wanted."""
    chain: list[_Conv] = []
    behind: list[ir.Node] = []
    value = input_of(turn, 0)
    while value is not None and (node := value.producer()) is not None and only_consumer(value) is not None:
        if is_op(node, *_ELEMENTWISE):
            behind.insert(0, node)
        elif is_op(node, "Conv"):
            conv = _conv(node, tuple(behind))
            if conv is None:
                return []
            chain.insert(0, conv)
            behind = []
        else:
            break
        value = input_of(node, 0)
    return chain if not behind and _halves_evenly(chain) else []


def _halves_evenly(chain: list[_Conv]) -> bool:
    """Whether the graph says how many frames there are, and each stride of 2 meets an even number of them."""
    n_frames = static_dim(input_of(chain[0].node, 0), 2) if chain else None
    for conv in chain:
        if n_frames is None or n_frames % conv.stride:
            return False
        n_frames //= conv.stride
    return True


def _conv(node: ir.Node, behind: tuple[ir.Node, ...]) -> _Conv | None:
    weight = tensor_of(input_of(node, 1))
    strides, bias = attribute_of(node, "strides", [1]), input_of(node, 2)
    plain = attribute_of(node, "group", 1) == 1 and attribute_of(node, "dilations", [1]) == [1]
    if weight is None or len(weight.shape) != 3 or strides not in ([1], [2]) or not plain:
        return None
    if weight.shape.numpy()[2] != _TAPS or attribute_of(node, "pads") != [1, 1]:
        return None
    if attribute_of(node, "auto_pad", "NOTSET") != "NOTSET" or (bias is not None and tensor_of(bias) is None):
        return None
    n_out, n_in, _ = weight.shape.numpy()
    return _Conv(node, strides[0], n_in, n_out, behind)


def _rewrite(graph: ir.Graph, chain: list[_Conv], turn: ir.Node) -> None:
    build = _Builder(graph, turn)
    x = build.op("Transpose", chain[0].node.inputs[0], perm=[0, 2, 1])
    for conv in chain:
        frames = build.three(x) if conv.stride == 1 else build.every_second_three(x, conv.n_in)
        x = build.product(frames, conv)
        for node in conv.behind:
            x = build.like(node, x)
    replace_value(graph, turn.outputs[0], x)
    remove_unused(graph, turn)


class _Builder:
    """Adds nodes before one of the graph's."""

    def __init__(self, graph: ir.Graph, before: ir.Node) -> None:
        self._graph, self._before = graph, before

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        return new_op(self._graph, self._before, op_type, *inputs, **attributes)

    def like(self, node: ir.Node, x: ir.Value) -> ir.Value:
        use_domain(self._graph, node.domain)
        new = ir.node(node.op_type, [x], dict(node.attributes), domain=node.domain)
        self._graph.insert_before(self._before, new)
        return new.outputs[0]

    def three(self, x: ir.Value) -> ir.Value:
        """[.., n, c] → [.., n, 3 c]: each row between its neighbours, zeros beyond the ends."""
        padded = self.op("Pad", x, self._ints(0, 1, 0, 0, 1, 0))
        slices = [self._slice(padded, axis=1, start=start, end=end) for start, end in ((0, -2), (1, -1), (2, _END))]
        return self.op("Concat", *slices, axis=-1)

    def every_second_three(self, x: ir.Value, n_in: int) -> ir.Value:
        """[.., 2 n, c] → [.., n, 3 c]: rows 0, 2, 4, … between their neighbours."""
        pairs = self.op("Reshape", x, self._ints(0, -1, 2 * n_in))
        odd = self._slice(pairs, axis=2, start=n_in, end=_END)
        before = self.op("Pad", odd, self._ints(0, 1, 0, 0, -1, 0))
        return self.op("Concat", before, pairs, axis=-1)

    def product(self, x: ir.Value, conv: _Conv) -> ir.Value:
        weight, bias = conv.node.inputs[1], input_of(conv.node, 2)
        assert weight is not None  # noqa: S101  _conv has looked at it
        matrix = derive_initializer(
            self._graph, f"{weight.name}.rows", [weight], _as_matrix, shape=[_TAPS * conv.n_in, conv.n_out]
        )
        y = self.op("MatMul", x, matrix)
        return y if bias is None else self.op("Add", y, bias)

    def _slice(self, x: ir.Value, *, axis: int, start: int, end: int) -> ir.Value:
        return self.op("Slice", x, self._ints(start), self._ints(end), self._ints(axis))

    def _ints(self, *numbers: int) -> ir.Value:
        return add_initializer(self._graph, "const_convolution", np.array(numbers))


_END = int(np.iinfo(np.int64).max)


def _as_matrix(weight: np.ndarray) -> np.ndarray:
    """[n_out, n_in, 3] → [3 · n_in, n_out]."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, weight.shape[0]))
