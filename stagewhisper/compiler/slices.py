"""Where Slices, Splits and Concats cut and join, read from the graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, input_of, ints_of, is_op, producer
from stagewhisper.compiler.inferred_shapes import InferredShapes

TO_THE_END = 2**31 - 1
"""What exporters write for "up to the end": this or more."""


@dataclass(frozen=True)
class Cut:
    """A Slice along one axis in steps of one.

    Bounds count from the front; they are None where they are not constant. The end of an axis of unknown length is
    TO_THE_END.
    """

    node: ir.Node
    source: ir.Value
    axis: int
    start: int | None
    end: int | None
    length: int | None
    """Of the source."""

    def reaches_end(self) -> bool:
        """Whether nothing of the source lies behind it."""
        return self.end is not None and self.end == (TO_THE_END if self.length is None else self.length)

    def covers_all(self) -> bool:
        """Whether it is the source itself."""
        return self.start == 0 and self.reaches_end()


def cut_of(node: ir.Node | None, shapes: InferredShapes) -> Cut | None:
    """The Slice as a cut, if it is along one axis in steps of one."""
    if node is None or not is_op(node, "Slice") or len(node.inputs) < 3 or node.inputs[0] is None:
        return None
    axes, steps = _ints_or(input_of(node, 3), [0]), _ints_or(input_of(node, 4), [1])
    if any(shapes.dims(bound) != (1,) for bound in node.inputs[1:3]):
        return None
    rank = shapes.rank(node.inputs[0])
    if axes is None or len(axes) != 1 or steps != [1] or rank is None:
        return None
    axis = axes[0] % rank
    length = shapes.length(node.inputs[0], axis)
    start, end = (_position(ints_of(bound), length) for bound in node.inputs[1:3])
    return Cut(node, node.inputs[0], axis, start, end, length)


def _ints_or(value: ir.Value | None, default: list[int]) -> list[int] | None:
    return default if value is None else ints_of(value)


def _position(bound: list[int] | None, length: int | None) -> int | None:
    """A constant bound counted from the front."""
    if bound is None:
        return None
    if bound[0] < 0:
        return None if length is None else max(0, bound[0] + length)
    return min(bound[0], TO_THE_END if length is None else length)


def operands_before(
    bound: ir.Value | None, operands: Sequence[ir.Value], axis: int, shapes: InferredShapes
) -> int | None:
    """How many operands of a Concat lie before `bound`; None if it falls inside one, or nobody can tell."""
    lengths = [shapes.length(operand, axis) for operand in operands]
    known = ints_of(bound)
    if known is None:
        return 1 if _is_length_of(bound, operands[0], axis, shapes) else None
    position, ends = known[0], _ends(lengths)
    if position < 0:
        from_end = _ends(lengths[::-1])
        return len(operands) - from_end.index(-position) if -position in from_end else None
    if position >= TO_THE_END or (len(ends) > len(operands) and position > ends[-1]):
        return len(operands)
    return ends.index(position) if position in ends else None


def _ends(lengths: Sequence[int | None]) -> list[int]:
    """0 and where each operand ends, as far as lengths are known."""
    known = lengths[: lengths.index(None)] if None in lengths else lengths
    return [0, *accumulate(length for length in known if length is not None)]


def _is_length_of(bound: ir.Value | None, operand: ir.Value, axis: int, shapes: InferredShapes) -> bool:
    """Whether `bound` is computed as the length of `operand` along `axis`."""
    node = None if bound is None else bound.producer()
    while node is not None and is_op(node, "Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity"):
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    picked: list[int] | None = None
    if node is not None and is_op(node, "Gather"):
        picked, node = ints_of(input_of(node, 1)), producer(node.inputs[0], "Shape")
    rank = shapes.rank(operand)
    if node is None or not is_op(node, "Shape") or node.inputs[0] is not operand or rank is None:
        return False
    axes = list(range(rank))[slice(attribute_of(node, "start", 0), attribute_of(node, "end"))]
    if picked is not None:
        axes = [axes[index] for index in picked if -len(axes) <= index < len(axes)]
    return axes == [axis]


def axis_of(node: ir.Node, shapes: InferredShapes) -> int | None:
    """The axis that a Concat or Split works on, counted from the front."""
    axis: int = attribute_of(node, "axis", 0)
    rank = next((rank for value in (*node.inputs[:1], *node.outputs) if (rank := shapes.rank(value))), None)
    return axis if axis >= 0 else None if rank is None else axis + rank


def split_lengths(node: ir.Node, shapes: InferredShapes) -> list[int] | None:
    """The lengths of a Split's parts, if the graph fixes them."""
    if input_of(node, 1) is not None:
        return ints_of(input_of(node, 1))
    lengths: list[int] | None = attribute_of(node, "split")
    axis = axis_of(node, shapes)
    total = None if axis is None else shapes.length(node.inputs[0], axis)
    if lengths is not None or total is None or total % len(node.outputs):
        return lengths
    return [total // len(node.outputs)] * len(node.outputs)
