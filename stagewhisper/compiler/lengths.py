"""Read the arithmetic that exporters do on shapes: what numbers stand in the vector that a Reshape or a Tile is given.

    Concat(Gather(Shape(x), [0]), [1, 1, 1])    →    [Length(x, 0), 1, 1, 1]

What cannot be read stands for itself: the value that is computed when the graph runs.
"""

from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    attribute_of,
    input_of,
    ints_of,
    is_op,
    producer,
    rank_of,
    scalar_of,
    static_dim,
)


@dataclass(frozen=True)
class Length:
    """The length of one axis of a value, counted from the front."""

    of: ir.Value
    axis: int


@dataclass(frozen=True)
class Quotient:
    """One number divided by another, rounded down."""

    dividend: "Number"
    divisor: "Number"


Number: TypeAlias = int | Length | Quotient | ir.Value
"""What is known of one number in a graph."""


def length_of(value: ir.Value, axis: int) -> Number:
    """The length of one axis: a number where the graph's inputs and operators fix it."""
    fixed = static_dim(value, axis) if value.producer() is None else None
    if fixed is not None:
        return fixed
    node = value.producer()
    source = None if node is None else input_of(node, 0)
    if node is None or source is None:
        return Length(value, axis)
    if is_op(node, "Identity", "Cast"):
        return length_of(source, axis)
    if is_op(node, "Transpose") and (perm := attribute_of(node, "perm")):
        return length_of(source, perm[axis])
    if is_op(node, "Unsqueeze") and (axes := ints_of(input_of(node, 1))) and min(axes) >= 0:
        return 1 if axis in axes else length_of(source, axis - sum(new < axis for new in axes))
    if is_op(node, "Tile", "Expand"):
        repeats = numbers_of(input_of(node, 1))
        if repeats is not None and axis < len(repeats) and repeats[axis] == 1:
            return length_of(source, axis)
    return Length(value, axis)


def number_of(value: ir.Value) -> Number:
    """The only element of a value."""
    number = scalar_of(value)
    if isinstance(number, int):
        return number
    node = value.producer()
    source = None if node is None else input_of(node, 0)
    if node is None or source is None:
        return value
    if is_op(node, "Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity"):
        return number_of(source)
    if is_op(node, "Gather") and (index := scalar_of(input_of(node, 1))) is not None:
        return _element(source, int(index)) or value
    if is_op(node, "Shape", "Slice", "Concat"):
        numbers = numbers_of(value)
        return numbers[0] if numbers is not None and len(numbers) == 1 else value
    if is_op(node, "Div") and (divisor := input_of(node, 1)) is not None:
        return _quotient(number_of(source), number_of(divisor))
    return value


def numbers_of(value: ir.Value | None) -> list[Number] | None:
    """The elements of a vector of whole numbers; None where not even how many is known."""
    constants = ints_of(value)
    if constants is not None:
        return list(constants)
    node = None if value is None else value.producer()
    source = None if node is None else input_of(node, 0)
    if node is None or source is None:
        return None
    if is_op(node, "Concat"):
        return _joined([numbers_of(part) for part in node.inputs])
    if is_op(node, "Shape"):
        return _shape(source, attribute_of(node, "start", 0), attribute_of(node, "end"))
    if is_op(node, "Slice"):
        return _sliced(node, source)
    if is_op(node, "Gather") and (indices := ints_of(input_of(node, 1))) is not None:
        elements = [_element(source, index) for index in indices]
        return [element for element in elements if element is not None] if None not in elements else None
    if is_op(node, "Unsqueeze"):
        return [number_of(source)] if ints_of(input_of(node, 1)) == [0] else None
    if is_op(node, "Cast", "Identity"):
        return numbers_of(source)
    if is_op(node, "Reshape"):
        target = numbers_of(input_of(node, 1))
        return [number_of(source)] if target == [1] else _flattened(source) if target == [-1] else None
    reader = _READERS.get(node.op_type)
    return None if reader is None or not is_op(node, node.op_type) else reader(node, source)


def _flattened(value: ir.Value) -> list[Number] | None:
    """A number as a vector of one, or a vector as it is."""
    numbers = numbers_of(value)
    return [number_of(value)] if numbers is None else numbers


def _element(vector: ir.Value, index: int) -> Number | None:
    shape = vector.producer()
    if is_op(shape, "Shape") and shape is not None and index >= 0 and (source := input_of(shape, 0)) is not None:
        return length_of(source, index + int(attribute_of(shape, "start", 0)))
    numbers = numbers_of(vector)
    return numbers[index] if numbers is not None and -len(numbers) <= index < len(numbers) else None


def _shape(source: ir.Value, start: int, end: int | None) -> list[Number] | None:
    vector = numbers_of(source)
    rank = known_rank(source) if vector is None else 1
    if rank is None and (start < 0 or end is None or end < 0):
        return None
    axes = range(start, end or 0) if rank is None else range(rank)[start:end]
    return [length_of(source, axis) if vector is None else len(vector) for axis in axes]


def _sliced(node: ir.Node, source: ir.Value) -> list[Number] | None:
    bounds = [ints_of(input_of(node, index)) for index in (1, 2)]
    plain = input_of(node, 4) is None or ints_of(input_of(node, 4)) == [1]
    if not plain or any(bound is None or len(bound) != 1 for bound in bounds):
        return None
    (start,), (end,) = (bound or [0] for bound in bounds)
    if start == end:
        return []
    numbers = numbers_of(source)
    return None if numbers is None else numbers[start:end]


def _one_hot(node: ir.Node, place: ir.Value) -> list[Number] | None:
    """[1, n, 1, 1]: how torch's older exporter says along which axis to repeat."""
    index, depth = scalar_of(place), scalar_of(input_of(node, 1))
    values = numbers_of(input_of(node, 2))
    if index is None or depth is None or values is None or len(values) != 2:
        return None
    return [values[axis == index % depth] for axis in range(int(depth))]


def _filled(node: ir.Node, shape: ir.Value) -> list[Number] | None:
    length, filling = numbers_of(shape), attribute_of(node, "value")
    if not length or not isinstance(length[0], int) or filling is None:
        return None
    return [int(filling.numpy().item())] * length[0]


def _multiplied(node: ir.Node, left: ir.Value) -> list[Number] | None:
    factor, numbers = scalar_of(input_of(node, 1)), numbers_of(left)
    if numbers is None or not isinstance(factor, int) or not all(isinstance(number, int) for number in numbers):
        return None
    return [factor * number for number in numbers if isinstance(number, int)]


def _chosen(node: ir.Node, condition: ir.Value) -> list[Number] | None:
    """Where(shape == -1, ones, shape): how torch's older exporter lets Expand keep an axis."""
    equal = producer(condition, "Equal")
    compared = None if equal is None else [numbers_of(value) for value in equal.inputs]
    choices = [numbers_of(input_of(node, index)) for index in (1, 2)]
    if compared is None or any(numbers is None for numbers in (*compared, *choices)):
        return None
    columns = zip(*(numbers or [] for numbers in (*compared, *choices)), strict=False)
    chosen = [_pick(*column) for column in columns]
    return [number for number in chosen if number is not None] if None not in chosen else None


def _pick(left: Number, right: Number, then: Number, otherwise: Number) -> Number | None:
    if isinstance(left, int) and isinstance(right, int):
        return then if left == right else otherwise
    unequal = right == -1 and isinstance(left, Length | Quotient)  # lengths are never negative
    return otherwise if unequal else None


_READERS = {"ConstantOfShape": _filled, "Mul": _multiplied, "OneHot": _one_hot, "Where": _chosen}


def known_rank(value: ir.Value | None) -> int | None:
    """The number of axes of a value, as its own producer shows it."""
    node = None if value is None else value.producer()
    if node is None:
        return rank_of(value)
    if is_op(node, "Transpose") and (perm := attribute_of(node, "perm")):
        return len(perm)
    if is_op(node, "Reshape", "Expand", "Tile"):
        numbers = numbers_of(input_of(node, 1))
        return None if numbers is None else len(numbers)
    if is_op(node, "Unsqueeze") and (axes := ints_of(input_of(node, 1))) is not None:
        rank = known_rank(input_of(node, 0))
        return None if rank is None else rank + len(axes)
    if is_op(node, "Identity", "Cast", "Softmax"):
        return known_rank(input_of(node, 0))
    if is_op(node, "Mul", "Div", "Add", "Sub") and scalar_of(input_of(node, 1)) is not None:
        return known_rank(input_of(node, 0))
    return None


def _quotient(dividend: Number, divisor: Number) -> Number:
    if isinstance(dividend, int) and isinstance(divisor, int) and divisor > 0:
        return dividend // divisor
    return dividend if divisor == 1 else Quotient(dividend, divisor)


def _joined(parts: list[list[Number] | None]) -> list[Number] | None:
    joined: list[Number] = []
    for part in parts:
        if part is None:
            return None
        joined += part
    return joined
