"""Cutting what was joined, and joining what was cut, is undone."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.passes.fuse_slice_concat import fuse_slice_concat
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

FLOAT = ir.DataType.FLOAT
END = 2**31 - 1
SHAPES: dict[str, list[int | str]] = {"a": ["n", 2, 4], "b": ["n", 3, 4], "free": ["n", "m", 4], "x": ["n", 12]}
GENERATOR = np.random.default_rng(0)
LENGTHS = {"n": 2, "m": 5, "r": 6}
INPUTS = {
    name: GENERATOR.standard_normal([LENGTHS[d] if isinstance(d, str) else d for d in shape]).astype(np.float32)
    for name, shape in SHAPES.items()
}


class Graph(SmallGraph):
    """A graph with all inputs, and Slices in one line."""

    def __init__(self) -> None:
        super().__init__({name: (FLOAT, shape) for name, shape in SHAPES.items()})

    def ints(self, *numbers: int) -> ir.Value:
        return self.constant(f"ints_{len(self._constants)}", np.array(numbers, np.int64))

    def slice(self, x: ir.Value, start: int, end: int, axis: int, step: int | None = None) -> ir.Value:
        steps = [] if step is None else [self.ints(step)]
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis), *steps)

    def join(self, *values: ir.Value, axis: int = 1) -> ir.Value:
        return self.op("Concat", *values, axis=axis)

    def result(self, *values: ir.Value) -> ir.Model:
        """Each value, negated, is an output: what the graph puts out has a node of its own."""
        return self.model(**{f"y{index}": self.op("Neg", value) for index, value in enumerate(values)})


def fused(build: Callable[[Graph], ir.Model]) -> tuple[int, dict[str, int]]:
    count, ops = rewritten(fuse_slice_concat, lambda: build(Graph()), INPUTS)
    del ops["Neg"]
    return count, ops


def test_a_slice_of_a_concat_is_the_operand() -> None:
    def build(g: Graph) -> ir.Model:
        joined = g.join(g.inputs["a"], g.inputs["b"], g.inputs["free"])
        last = g.join(g.inputs["free"], g.inputs["b"], axis=-2)
        return g.result(g.slice(joined, 0, 2, 1), g.slice(joined, 2, 5, -2, 1), g.slice(last, -3, END, 1))

    assert fused(build) == (3, {})


def test_a_slice_over_several_operands_is_their_concat() -> None:
    def build(g: Graph) -> ir.Model:
        joined = g.join(g.inputs["a"], g.inputs["b"], g.inputs["free"])
        return g.result(g.slice(joined, 2, END, 1))

    count, ops = fused(build)
    assert (count, ops) == (1, {"Concat": 1})


@pytest.mark.parametrize("form", ["gather", "start and end"])
def test_a_slice_from_the_length_of_the_first_operand_is_the_second(form: str) -> None:
    def build(g: Graph) -> ir.Model:
        past, new = g.inputs["free"], g.inputs["b"]
        if form == "gather":
            length = g.op("Gather", g.op("Shape", past), g.constant("one", np.array(1, np.int64)))
            length = g.op("Unsqueeze", length, g.ints(0))
        else:
            length = g.op("Shape", past, start=1, end=2)
        joined = g.join(past, new)
        tail = g.op("Slice", joined, length, g.ints(END), g.ints(1))
        head = g.op("Slice", joined, g.ints(0), length, g.ints(1))
        return g.result(tail, head)

    assert fused(build) == (2, {})


def test_a_split_of_a_concat_is_the_operands() -> None:
    def build(g: Graph) -> ir.Model:
        node = ir.node("Split", [g.join(g.inputs["a"], g.inputs["b"]), g.ints(2, 3)], {"axis": -2}, num_outputs=2)
        g._nodes.append(node)
        return g.result(*node.outputs)

    assert fused(build) == (1, {})


def test_a_concat_of_all_parts_of_a_split_is_its_source() -> None:
    def build(g: Graph) -> ir.Model:
        node = ir.node("Split", [g.inputs["x"]], {"axis": 1, "num_outputs": 3}, num_outputs=3)
        g._nodes.append(node)
        return g.result(g.join(*node.outputs))

    assert fused(build) == (1, {})


def test_a_concat_of_adjacent_slices_is_one_slice_or_the_source() -> None:
    def build(g: Graph) -> ir.Model:
        x = g.inputs["x"]
        whole = g.join(g.slice(x, 0, 3, 1), g.slice(x, 3, -4, 1), g.slice(x, 8, END, -1))
        part = g.join(g.slice(x, 1, 3, 1), g.slice(x, 3, 7, 1), g.slice(x, 0, 1, 1))
        return g.result(whole, part)

    count, ops = fused(build)
    assert (count, ops) == (2, {"Slice": 2, "Concat": 1})


def test_both_sides_of_a_cut_that_is_known_only_in_the_run_are_the_source() -> None:
    def build(g: Graph) -> ir.Model:
        where = g.op("Shape", g.inputs["free"], start=1, end=2)
        x, axis = g.inputs["x"], g.ints(1)
        head, tail = g.op("Slice", x, g.ints(0), where, axis), g.op("Slice", x, where, g.ints(END), axis)
        return g.result(g.join(head, tail))

    assert fused(build) == (1, {})


def test_slices_that_tile_a_packed_product_become_a_split() -> None:
    weight = GENERATOR.standard_normal((12, 12)).astype(np.float32)

    def build(g: Graph) -> ir.Model:
        packed = g.op("MatMul", g.inputs["x"], g.constant("weight", weight))
        return g.result(g.slice(packed, 8, END, -1), g.slice(packed, 0, 4, -1), g.slice(packed, 4, 8, 1))

    count, ops = fused(build)
    assert (count, ops) == (3, {"MatMul": 1, "Split": 1})


def test_a_slice_of_all_goes() -> None:
    def build(g: Graph) -> ir.Model:
        return g.result(g.slice(g.inputs["x"], 0, 12, 1), g.slice(g.inputs["free"], 0, END, 1))

    assert fused(build) == (2, {})


def test_it_declines_bounds_inside_operands_steps_gaps_overlaps_and_other_axes() -> None:
    def build(g: Graph) -> ir.Model:
        a, b, free, x = (g.inputs[name] for name in ("a", "b", "free", "x"))
        joined, unknown = g.join(a, b), g.join(free, a, b)
        return g.result(
            g.slice(joined, 1, 5, 1),
            g.slice(joined, 2, 5, 1, 2),
            g.slice(joined, 2, 4, 2),
            g.slice(unknown, 2, 5, 1),
            g.join(g.slice(x, 0, 3, 1), g.slice(x, 4, 12, 1)),
            g.join(g.slice(x, 0, 5, 1), g.slice(x, 3, 12, 1)),
            g.join(g.slice(x, 3, 12, 1), g.slice(x, 0, 3, 1)),
            g.join(g.slice(x, 0, 1, 0), g.slice(x, 1, 2, 0)),
        )

    count, ops = fused(build)
    assert count == 0
    assert ops == {"Concat": 6, "Slice": 12}


def test_it_declines_where_an_output_of_the_graph_would_only_become_an_identity() -> None:
    def build() -> ir.Model:
        g = Graph()
        return g.model(y=g.slice(g.join(g.inputs["a"], g.inputs["b"]), 0, 2, 1))

    count, ops = rewritten(fuse_slice_concat, build, INPUTS)
    assert (count, ops) == (0, {"Concat": 1, "Slice": 1})


@pytest.mark.parametrize("name", EXPORTS)
def test_foreign_graphs_keep_their_numbers(name: str) -> None:
    foreign = foreign_graph(name)
    rewritten(fuse_slice_concat, foreign.model, foreign.inputs(), close=CLOSE)
