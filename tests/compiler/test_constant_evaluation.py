"""What we compute in NumPy is what ONNX Runtime computes, or is left to it."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.constant_evaluation import TooLargeError, can_evaluate, evaluate
from tests.compiler.graphs import SmallGraph, run

A = np.array([[1.5, -2.0, 0.25], [8.0, 3.0, -0.5]], np.float32)
B = np.array([[2.0, 3.0, -4.0]], np.float32)
I = np.array([7, -7, 8, -9], np.int64)  # noqa: E741
J = np.array([2, 2, -3, -2], np.int64)
TRUE = np.array([True, False, True, False])


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def number(value: int) -> np.ndarray:
    return np.array(value, np.int64)


CASES: list[tuple[str, list[np.ndarray | None], dict[str, Any]]] = [
    ("Abs", [I], {}),
    ("Add", [A, B], {}),
    ("And", [TRUE, ~TRUE], {}),
    ("Cast", [A], {"to": 7}),
    ("Cast", [A], {"to": 10}),
    ("Cast", [A], {"to": 9}),
    ("Ceil", [A], {}),
    ("Concat", [A, B], {"axis": 0}),
    ("Concat", [A, A], {"axis": -1}),
    ("ConstantOfShape", [ints(2, 3)], {}),
    ("ConstantOfShape", [ints(2)], {"value": ir.tensor(np.array([7], np.int64))}),
    ("Div", [I, J], {}),
    ("Div", [A, B], {}),
    ("Equal", [I, J], {}),
    ("Expand", [B, ints(2, 1)], {}),
    ("Floor", [A], {}),
    ("Gather", [A, ints(-1, 0)], {"axis": 1}),
    ("Gather", [A, number(1)], {"axis": 0}),
    ("Greater", [A, B], {}),
    ("GreaterOrEqual", [A, B], {}),
    ("Less", [A, B], {}),
    ("LessOrEqual", [A, B], {}),
    ("Max", [A, B], {}),
    ("Min", [A, B, A], {}),
    ("Mul", [A, B], {}),
    ("Neg", [A], {}),
    ("Not", [TRUE], {}),
    ("Or", [TRUE, ~TRUE], {}),
    ("Pow", [floats(64.0, 80.0), floats(-0.25, 0.5)], {}),
    ("Pow", [I, np.full(4, 2, np.int64)], {}),
    ("Range", [number(2), number(9), number(3)], {}),
    ("Range", [number(9), number(2), number(-3)], {}),
    ("Reciprocal", [A], {}),
    ("ReduceMax", [I, ints(0)], {}),
    ("ReduceMin", [I, ints(0)], {"keepdims": 0}),
    ("ReduceProd", [I, None], {"keepdims": 0}),
    ("ReduceSum", [I], {"noop_with_empty_axes": 1}),
    ("ReduceSum", [I, ints(-1)], {}),
    ("Reshape", [A, ints(0, -1, 1)], {}),
    ("Slice", [A, ints(-2), ints(2**31 - 1), ints(1)], {}),
    ("Slice", [A, ints(0, 2), ints(2, 9)], {}),
    ("Slice", [I, ints(0), ints(4), ints(0), ints(2)], {}),
    ("Sqrt", [np.abs(A)], {}),
    ("Squeeze", [B], {}),
    ("Squeeze", [B, ints(0)], {}),
    ("Sub", [A, B], {}),
    ("Tile", [B, ints(2, 2)], {}),
    ("Transpose", [A], {}),
    ("Transpose", [A[None]], {"perm": [1, 0, 2]}),
    ("Trilu", [A], {}),
    ("Trilu", [A, number(-1)], {"upper": 0}),
    ("Unsqueeze", [A, ints(0, -1)], {}),
    ("Where", [A > 1, A, B], {}),
]


@pytest.mark.parametrize(("op_type", "inputs", "attributes"), CASES, ids=[case[0] for case in CASES])
def test_results_are_those_of_onnx_runtime_bit_for_bit(
    op_type: str, inputs: list[np.ndarray | None], attributes: dict[str, Any]
) -> None:
    names = [f"x{index}" for index, array in enumerate(inputs) if array is not None]
    given = dict(zip(names, (array for array in inputs if array is not None), strict=True))
    build = SmallGraph({name: (ir.tensor(array).dtype, list(array.shape)) for name, array in given.items()})
    values = [None if array is None else build.inputs[f"x{index}"] for index, array in enumerate(inputs)]
    result = build.op(op_type, *values, **attributes)
    node = result.producer()
    assert node is not None
    assert can_evaluate(node)
    found = evaluate(node, inputs, max_bytes=10_000)
    assert found is not None
    result.type = ir.TensorType(ir.tensor(found).dtype)
    expected = run(build.model(y=result), given)["y"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected, strict=True)


def node_of(op_type: str, n_inputs: int, **attributes: Any) -> ir.Node:
    return ir.node(op_type, [ir.val(f"x{index}") for index in range(n_inputs)], attributes)


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("Expand", [B, ints(1000, 1000, 3)]),
        ("ConstantOfShape", [ints(10**6, 10**6)]),
        ("Tile", [B, ints(10**5, 1)]),
        ("Range", [number(0), number(10**12), number(1)]),
        ("Add", [np.zeros((1000, 1), np.float32), np.zeros((1, 1000), np.float32)]),
        ("Gather", [A, np.zeros(10**5, np.int64)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_large_results_are_refused_before_they_are_made(op_type: str, inputs: list[np.ndarray]) -> None:
    with pytest.raises(TooLargeError):
        evaluate(node_of(op_type, len(inputs)), inputs, max_bytes=100_000)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("Div", [I, np.zeros(4, np.int64)], {}),
        ("Gather", [A, ints(5)], {}),
        ("Reshape", [A, ints(4, 4)], {}),
        ("Sqrt", [floats(-1.0)], {}),
        ("Slice", [I, ints(3), ints(0), ints(0), ints(-1)], {}),
        ("ReduceSum", [A, ints(0)], {}),
        ("Range", [np.array(end, np.float32) for end in (0.0, 1.0, 0.1)], {}),
        ("Cast", [A], {"to": 8}),
        ("Add", [A, None], {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails_or_may_round_otherwise_is_left_to_the_run(
    op_type: str, inputs: list[np.ndarray | None], attributes: dict[str, Any]
) -> None:
    assert evaluate(node_of(op_type, len(inputs), **attributes), inputs, max_bytes=100_000) is None


def test_random_and_foreign_operators_are_not_evaluated() -> None:
    assert not can_evaluate(node_of("RandomNormalLike", 1))
    assert not can_evaluate(ir.node("Add", [ir.val("a"), ir.val("b")], domain="com.microsoft"))
