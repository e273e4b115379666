"""The encoder's side of int8 cross-attention: integers, their scales, the values' means, and the last frame.

    k [n_audio, n_frames, n_head, head_dim] ─► Div(scales) ─► QuantizeLinear ─► Transpose ─► cross_k int8
                                          └─► Abs ─► ReduceMax ─► scales ─► Transpose ─► cross_k_scale
    v ─► ReduceMean ─► Transpose ─► cross_v_mean
    v ─► Sub(mean), and as k from there

Quantising before the Transpose moves bytes instead of floats, and reads rows as they lie.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.cross_attention import CrossPair
from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    input_of,
    producer,
    remove_unused,
    unique_name,
)
from stagewhisper.compiler.quantization import INT8_LEVELS, TINY_SCALE

ROWS_TOGETHER = 20
"""Frames that the first step of a maximum or a mean looks at: the fastest of all divisors of 1500."""

FLOAT, INT8 = ir.DataType.FLOAT, ir.DataType.INT8


def give_int8(graph: ir.Graph, pairs: Sequence[CrossPair], *, last_frames: bool) -> None:
    """Turn these outputs into int8 [n_audio, n_head, n_frames, head_dim], and give what goes with them."""
    if not pairs:
        return
    build = _Appended(graph)
    for pair in pairs:
        _give(build, pair.k, pair, turned=pair.k_is_turned, last_frames=last_frames, centred=False)
        _give(build, pair.v, pair, turned=False, last_frames=last_frames, centred=True)


class _Appended:
    """Adds nodes at the end of a graph, and the constants that they share."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.one = add_initializer(graph, "const_one", np.array(1, np.float32))
        self.int8_zero = add_initializer(graph, "const_int8_zero", np.array(0, np.int8))
        self.levels = add_initializer(graph, "const_int8_levels", np.array(INT8_LEVELS, np.float32))
        self.least = add_initializer(graph, "const_least_scale", np.array(TINY_SCALE, np.float32))

    def op(self, op_type: str, *inputs: ir.Value, **attributes: list[int] | int) -> ir.Value:
        node = ir.node(op_type, list(inputs), attributes)
        self.graph.append(node)
        return node.outputs[0]

    def constant(self, *numbers: int) -> ir.Value:
        return add_initializer(self.graph, f"const_int64_{'_'.join(map(str, numbers))}", np.array(numbers))

    def give(self, value: ir.Value, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> None:
        """Make `value` an output under this name; it takes the place of the output that has it now."""
        place = next((index for index, output in enumerate(self.graph.outputs) if output.name == name), None)
        if place is None:
            self.graph.outputs.append(value)
        else:
            self.graph.outputs[place].name = unique_name(self.graph, f"{name}_float")
            self.graph.outputs[place] = value
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)


def _give(build: _Appended, old: ir.Value, pair: CrossPair, *, turned: bool, last_frames: bool, centred: bool) -> None:
    name, node, shape = old.name or "", old.producer(), list(old.shape or ())
    turn = producer(old, "Transpose")
    x, perm = (None, []) if turn is None else (input_of(turn, 0), attribute_of(turn, "perm"))
    if x is None:
        x, perm = old, [0, 1, 2, 3]
    frames, channels = (3, 2) if turned else (2, 3)
    n_audio = shape[0] if isinstance(shape[0], int) else str(shape[0])
    scale_shape = [n_audio, pair.n_head, *((pair.head_dim, 1) if turned else (1, pair.head_dim))]
    if centred:
        mean = _reduced(build, "ReduceMean", x, pair, axis=perm[frames])
        build.give(_transposed(build, mean, perm), _companion(name, "mean"), FLOAT, scale_shape)
        x = build.op("Sub", x, mean)
    scales = _scales(build, x, pair, axis=perm[frames])
    integers = build.op("QuantizeLinear", build.op("Div", x, scales), build.one, build.int8_zero)
    rows = _transposed(build, integers, [perm[0], perm[1], perm[frames], perm[channels]])
    build.give(rows, name, INT8, [n_audio, pair.n_head, pair.n_frames, pair.head_dim])
    build.give(_transposed(build, scales, perm), _companion(name, "scale"), FLOAT, scale_shape)
    if last_frames:
        last = _last_frame(build, rows, pair)
        build.give(last, _companion(name, "last"), FLOAT, [n_audio, 1, pair.n_head * pair.head_dim])
    if node is not None:
        remove_unused(build.graph, node)


def _scales(build: _Appended, x: ir.Value, pair: CrossPair, *, axis: int) -> ir.Value:
    """max |x| / 127 along the axis of frames."""
    largest = _reduced(build, "ReduceMax", build.op("Abs", x), pair, axis=axis)
    return build.op("Max", build.op("Div", largest, build.levels), build.least)


def _reduced(build: _Appended, op_type: str, x: ir.Value, pair: CrossPair, *, axis: int) -> ir.Value:
    """x over the axis of frames, which stays, with length 1.

    Over [n_audio, n_frames, n_head, head_dim] that is done in two steps, for one ReduceMax over so many rows takes ten
    times as long.
    """
    n_together = min(_divisors(pair.n_frames), key=lambda divisor: abs(divisor - ROWS_TOGETHER))
    if axis != 1 or n_together == 1:
        return build.op(op_type, x, build.constant(axis))
    groups = build.constant(0, pair.n_frames // n_together, n_together, -1)
    in_groups = build.op(op_type, build.op("Reshape", x, groups), build.constant(2))
    all_groups = build.op(op_type, in_groups, build.constant(1))
    return build.op("Reshape", all_groups, build.constant(0, 1, pair.n_head, pair.head_dim))


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _transposed(build: _Appended, x: ir.Value, perm: list[int]) -> ir.Value:
    """Always a node of its own, so that it can become an output."""
    return build.op("Transpose", x, perm=perm)


def _last_frame(build: _Appended, rows: ir.Value, pair: CrossPair) -> ir.Value:
    """[n_audio, n_head, n_frames, head_dim] → [n_audio, 1, n_head · head_dim], the integers as float32."""
    start, end, axis = (build.constant(number) for number in (pair.n_frames - 1, pair.n_frames, 2))
    frame = build.op("Cast", build.op("Slice", rows, start, end, axis), to=int(FLOAT))
    return build.op("Reshape", frame, build.constant(0, 1, -1))


def _companion(name: str, what: str) -> str:
    """cross_k_3 ─► cross_k_scale_3."""
    stem, layer = name.rsplit("_", 1)
    return f"{stem}_{what}_{layer}"
