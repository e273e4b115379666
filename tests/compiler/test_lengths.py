"""What exporters compute of shapes is read as numbers and lengths, and rows are traced by it."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.graph_tools import add_initializer
from stagewhisper.compiler.lengths import Length, Quotient, known_rank, length_of, number_of, numbers_of
from stagewhisper.compiler.row_keys import row_keys


class Sketch:
    """A graph to which values are added one by one."""

    def __init__(self) -> None:
        self.x = ir.val("x", ir.DataType.FLOAT, ["n_seq", "n_new", 16])
        self.k = ir.val("k", ir.DataType.FLOAT, ["n_audio", 2, 40, 8])
        self.graph = ir.Graph([self.x, self.k], [], nodes=[], opset_imports={"": 20}, name="sketch")

    def op(self, op_type: str, *inputs: ir.Value, **attributes: ir.TensorProtocol | int | list[int]) -> ir.Value:
        node = ir.node(op_type, list(inputs), attributes)
        self.graph.append(node)
        return node.outputs[0]

    def constant(self, *numbers: int) -> ir.Value:
        return add_initializer(self.graph, "constant", np.asarray(numbers))

    def scalar(self, number: int) -> ir.Value:
        return add_initializer(self.graph, "scalar", np.asarray(number))

    def n_seq(self) -> ir.Value:
        return self.op("Gather", self.op("Shape", self.x), self.scalar(0), axis=0)

    def repeat(self, n_group: ir.Value) -> ir.Value:
        """k for n_group sequences a window, as our export writes it."""
        one = self.constant(1)
        repeats = self.op("Concat", one, self.op("Unsqueeze", n_group, self.constant(0)), one, one, one, axis=0)
        repeated = self.op("Expand", self.op("Unsqueeze", self.k, one), repeats)
        return self.op("Reshape", repeated, self.constant(-1, 2, 40, 8))


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()


def test_constants_and_lengths_are_told_apart(sketch: Sketch) -> None:
    rows = sketch.op("Gather", sketch.op("Shape", sketch.x), sketch.constant(0, 2), axis=0)
    assert numbers_of(sketch.op("Concat", rows, sketch.constant(3), axis=0)) == [Length(sketch.x, 0), 16, 3]
    assert numbers_of(sketch.op("Shape", sketch.k, start=0, end=2)) == [Length(sketch.k, 0), 2]
    assert numbers_of(sketch.op("Shape", sketch.k, start=-1)) == [8]


def test_slices_of_shapes(sketch: Sketch) -> None:
    shape = sketch.op("Shape", sketch.k)
    assert numbers_of(sketch.op("Slice", shape, sketch.constant(1), sketch.constant(3))) == [2, 40]
    assert numbers_of(sketch.op("Slice", shape, sketch.constant(-1), sketch.constant(2**63 - 1))) == [8]
    assert numbers_of(sketch.op("Slice", shape, sketch.constant(0), sketch.constant(0))) == []
    assert numbers_of(sketch.op("Slice", shape, sketch.n_seq(), sketch.constant(3))) is None


def test_a_number_keeps_through_casts_and_squeezes(sketch: Sketch) -> None:
    number = sketch.op("Squeeze", sketch.op("Cast", sketch.op("Shape", sketch.x, start=0, end=1), to=7))
    assert number_of(number) == Length(sketch.x, 0)
    assert number_of(sketch.op("Div", number, sketch.scalar(1))) == Length(sketch.x, 0)
    assert number_of(sketch.op("Div", number, sketch.scalar(2))) == Quotient(Length(sketch.x, 0), 2)


def test_what_cannot_be_read_stands_for_itself(sketch: Sketch) -> None:
    unknown = sketch.op("NonZero", sketch.x)
    assert number_of(unknown) is unknown
    assert numbers_of(unknown) is None
    assert known_rank(unknown) is None


def test_torchs_older_idioms_are_read(sketch: Sketch) -> None:
    n_group = sketch.op("Unsqueeze", sketch.n_seq(), sketch.constant(0))
    values = sketch.op("Concat", sketch.constant(1), n_group, axis=0)
    assert numbers_of(sketch.op("OneHot", sketch.constant(1), sketch.scalar(4), values)) == [
        1,
        Length(sketch.x, 0),
        1,
        1,
    ]
    ones = sketch.op("ConstantOfShape", sketch.constant(3), value=ir.tensor(np.asarray([1])))
    wanted = sketch.op("Concat", sketch.constant(-1), n_group, sketch.constant(5), axis=0)
    keep = sketch.op("Equal", wanted, sketch.op("Mul", ones, sketch.scalar(-1)))
    assert numbers_of(sketch.op("Where", keep, ones, wanted)) == [1, Length(sketch.x, 0), 5]


def test_lengths_are_followed_through_layout(sketch: Sketch) -> None:
    turned = sketch.op("Transpose", sketch.k, perm=[0, 1, 3, 2])
    assert [length_of(turned, axis) for axis in (1, 2, 3)] == [2, 8, 40]
    widened = sketch.op("Unsqueeze", sketch.k, sketch.constant(1))
    assert [length_of(widened, axis) for axis in range(5)] == [Length(sketch.k, 0), 1, 2, 40, 8]
    assert known_rank(widened) == 5


def test_rows_follow_the_operators_that_keep_them(sketch: Sketch) -> None:
    weight = add_initializer(sketch.graph, "weight", np.zeros((16, 16), np.float32))
    y = sketch.op("Add", sketch.op("MatMul", sketch.op("Softmax", sketch.x), weight), sketch.constant(1))
    heads = sketch.op("Transpose", sketch.op("Reshape", y, sketch.constant(0, 0, 2, -1)), perm=[0, 2, 1, 3])
    moved = sketch.op("Transpose", y, perm=[1, 0, 2])
    keys = row_keys(sketch.graph)
    assert keys[heads] == keys[sketch.x] == "n_seq"
    assert keys[moved] not in ("n_seq", "n_audio")


def test_rows_that_may_be_broadcast_are_not_trusted(sketch: Sketch) -> None:
    both = sketch.op("Add", sketch.x, sketch.op("Transpose", sketch.x, perm=[1, 0, 2]))
    wide = sketch.op("Add", sketch.x, add_initializer(sketch.graph, "wide", np.zeros((4, 1, 1), np.float32)))
    keys = row_keys(sketch.graph)
    assert keys[both] != keys[sketch.x] != keys[wide]


def test_repeated_windows_have_the_rows_of_their_sequences(sketch: Sketch) -> None:
    n_audio = sketch.op("Gather", sketch.op("Shape", sketch.k), sketch.scalar(0), axis=0)
    fits = sketch.repeat(sketch.op("Div", sketch.n_seq(), n_audio))
    unrelated = sketch.repeat(sketch.op("Div", sketch.n_seq(), sketch.scalar(2)))
    keys = row_keys(sketch.graph)
    assert keys[fits] == "n_seq"
    assert keys[unrelated] != "n_seq"
