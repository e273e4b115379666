"""What an ONNX node computes from constants, in NumPy: the small arithmetic that exporters write around shapes.

Only operators that IEEE 754 rounds in one way, so that NumPy and ONNX Runtime agree bit for bit: no Exp, no Gelu.
The one exception is Pow, computed in float64 and rounded, which exporters use for the square root of head_dim.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of

Array = np.ndarray


class TooLargeError(Exception):
    """The result would be larger than was allowed; it was not computed."""


def can_evaluate(node: ir.Node) -> bool:
    """Whether `evaluate` knows the node's operator."""
    return node.domain in ("", "ai.onnx") and node.op_type in _OPERATORS and len(node.outputs) == 1


def evaluate(node: ir.Node, inputs: Sequence[Array | None], *, max_bytes: int) -> Array | None:
    """The node's output for these inputs (None: left out), or None where ONNX leaves the result open.

    Raises:
        TooLargeError: the output has more than `max_bytes` bytes.
    """
    call = _Call(node, inputs, max_bytes)
    try:
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            array = np.asarray(_OPERATORS[node.op_type](call))
    except (ArithmeticError, ValueError, IndexError, TypeError):
        return None  # the node fails when it runs, if ever: whoever runs it must see that
    call.allow(array.size, array.dtype)
    return array


@dataclass(frozen=True)
class _Call:
    """One node with its inputs' values; a function of it asks for what it needs."""

    node: ir.Node
    inputs: Sequence[Array | None]
    max_bytes: int

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def array(self, index: int) -> Array:
        array = self.inputs[index] if index < len(self.inputs) else None
        if array is None:
            raise ValueError(f"input {index} is left out")
        return array

    def arrays(self) -> list[Array]:
        return [self.array(index) for index in range(len(self.inputs))]

    def ints(self, index: int) -> list[int]:
        return [int(number) for number in self.array(index).ravel()]

    def attribute(self, name: str, default: Any = None) -> Any:
        return attribute_of(self.node, name, default)

    def axes(self) -> tuple[int, ...] | None:
        """As the second input (opset 13 and later) or as an attribute (before)."""
        axes = self.ints(1) if self.has(1) else self.attribute("axes")
        return None if axes is None else tuple(axes)

    def allow(self, n_elements: int, dtype: "np.dtype[Any]") -> None:
        """Ask before memory is taken."""
        if n_elements * dtype.itemsize > self.max_bytes:
            raise TooLargeError

    def allow_shape(self, shape: Sequence[int], dtype: "np.dtype[Any]") -> None:
        self.allow(int(np.prod(shape, dtype=np.float64)), dtype)


def _elementwise(function: Callable[..., Any]) -> Callable[[_Call], Any]:
    def run(call: _Call) -> Any:
        arrays = call.arrays()
        call.allow_shape(np.broadcast_shapes(*(array.shape for array in arrays)), arrays[-1].dtype)
        return function(*arrays)

    return run


def _arithmetic(function: Callable[..., Any]) -> Callable[[_Call], Any]:
    """As elementwise, with a result of the inputs' own type: NumPy widens some."""
    return _elementwise(lambda *arrays: np.asarray(function(*arrays)).astype(arrays[0].dtype, copy=False))


def _divide(left: Array, right: Array) -> Any:
    if left.dtype.kind not in "iu":
        return np.divide(left, right)
    if (right == 0).any():
        raise ZeroDivisionError
    quotient = np.abs(left) // np.abs(right)  # towards zero, as C does it
    return np.where((left < 0) != (right < 0), -quotient, quotient)


def _power(base: Array, exponent: Array) -> Any:
    if base.dtype.kind in "iu":
        return np.power(base, exponent)
    return np.power(base.astype(np.float64), exponent.astype(np.float64))


def _largest(*arrays: Array) -> Any:
    return np.max(np.stack(np.broadcast_arrays(*arrays)), axis=0)


def _smallest(*arrays: Array) -> Any:
    return np.min(np.stack(np.broadcast_arrays(*arrays)), axis=0)


def _gather(call: _Call) -> Array:
    data, indices, axis = call.array(0), call.array(1), call.attribute("axis", 0)
    call.allow(data.size // max(data.shape[axis], 1) * indices.size, data.dtype)
    return np.asarray(np.take(data, indices, axis=axis))  # of one number, NumPy makes no array


def _squeeze(call: _Call) -> Array:
    return np.squeeze(call.array(0), call.axes())


def _unsqueeze(call: _Call) -> Array:
    axes = call.axes()
    if axes is None:
        raise ValueError("no axes")
    return np.expand_dims(call.array(0), axes)


def _cast(call: _Call) -> Array:
    dtype, data = ir.DataType(call.attribute("to")), call.array(0)
    if dtype == ir.DataType.STRING or dtype.bitwidth < 8:
        raise TypeError(f"{dtype} has no NumPy type of whole bytes")
    call.allow(data.size, np.dtype(dtype.numpy()))
    return data.astype(dtype.numpy())


def _reshape(call: _Call) -> Array:
    data, shape = call.array(0), call.ints(1)
    if not call.attribute("allowzero", 0):
        shape = [data.shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    return data.reshape(shape)


def _transpose(call: _Call) -> Array:
    return np.transpose(call.array(0), call.attribute("perm"))


def _concat(call: _Call) -> Array:
    arrays = call.arrays()
    call.allow(sum(array.size for array in arrays), arrays[0].dtype)
    return np.concatenate(arrays, axis=call.attribute("axis"))


def _range(call: _Call) -> Array:
    dtype = call.array(0).dtype
    if dtype.kind not in "iu":
        raise TypeError("a range of floats may end one element apart")
    numbers = range(*(int(call.array(index).item()) for index in range(3)))
    call.allow(len(numbers), dtype)
    return np.asarray(numbers, dtype)


def _constant_of_shape(call: _Call) -> Array:
    value = call.node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
    call.allow_shape(call.ints(0), fill.dtype)
    return np.full(call.ints(0), fill.ravel()[0], fill.dtype)


def _expand(call: _Call) -> Array:
    data = call.array(0)
    shape = np.broadcast_shapes(data.shape, tuple(call.ints(1)))
    call.allow_shape(shape, data.dtype)
    return np.broadcast_to(data, shape)


def _tile(call: _Call) -> Array:
    data, repeats = call.array(0), call.ints(1)
    call.allow_shape([data.size, *repeats], data.dtype)
    return np.tile(data, repeats)


def _where(call: _Call) -> Array:
    condition, yes, no = (call.array(index) for index in range(3))
    call.allow_shape(np.broadcast_shapes(condition.shape, yes.shape, no.shape), yes.dtype)
    return np.where(condition, yes, no)


def _slice(call: _Call) -> Array:
    data, starts, ends = call.array(0), call.ints(1), call.ints(2)
    axes = call.ints(3) if call.has(3) else list(range(len(starts)))
    steps = call.ints(4) if call.has(4) else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            raise ValueError("ends of slices that run backwards are written another way in Python")
        index[axis] = slice(start, end, step)
    return data[tuple(index)]


def _trilu(call: _Call) -> Array:
    diagonal = int(call.array(1).item()) if call.has(1) else 0
    return (np.triu if call.attribute("upper", 1) else np.tril)(call.array(0), diagonal)


def _reduce(function: Callable[..., Any]) -> Callable[[_Call], Array]:
    def run(call: _Call) -> Array:
        data, axes = call.array(0), call.axes()
        if data.dtype.kind not in "iu":
            raise TypeError("sums of floats depend on their order")
        if not axes and call.attribute("noop_with_empty_axes", 0):
            return data
        kept = bool(call.attribute("keepdims", 1))
        return np.asarray(function(data, axis=axes or None, keepdims=kept)).astype(data.dtype)

    return run


_OPERATORS: dict[str, Callable[[_Call], Any]] = {
    "Abs": _arithmetic(np.abs),
    "Add": _arithmetic(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Ceil": _arithmetic(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _arithmetic(_divide),
    "Equal": _elementwise(np.equal),
    "Expand": _expand,
    "Floor": _arithmetic(np.floor),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": lambda call: call.array(0),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Max": _arithmetic(_largest),
    "Min": _arithmetic(_smallest),
    "Mul": _arithmetic(np.multiply),
    "Neg": _arithmetic(np.negative),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _arithmetic(_power),
    "Range": _range,
    "Reciprocal": _arithmetic(lambda array: np.divide(array.dtype.type(1), array)),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _arithmetic(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _arithmetic(np.subtract),
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
