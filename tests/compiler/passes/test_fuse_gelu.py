"""Written-out GELU becomes one operator, in whatever order an exporter multiplies."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.opset import opset_of
from stagewhisper.compiler.passes.fuse_gelu import fuse_gelu
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

X = {"x": np.linspace(-4, 4, 12, dtype=np.float32).reshape(2, 6)}
ORDERS = ("x·(1 + erf)·½", "½·(x·(1 + erf))", "x·(½·(1 + erf))", "(x·½)·(1 + erf)", "(1 + erf)·(½·x)")


def written_out(
    order: str = ORDERS[0], *, root: float = math.sqrt(2), one: float = 1.0, half: float = 0.5, product: bool = False
) -> SmallGraph:
    """GELU in arithmetic; its value is `y` of the graph."""
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 6])})
    x = graph.inputs["x"]
    number = graph.constant("root", np.asarray(1 / root if product else root, np.float32))
    erf = graph.op("Erf", graph.op("Mul" if product else "Div", x, number))
    total = graph.op("Add", erf, graph.constant("one", np.asarray(one, np.float32)))
    half_ = graph.constant("half", np.asarray(half, np.float32))
    if order == ORDERS[0]:
        graph.y = graph.op("Mul", graph.op("Mul", x, total), half_)  # type: ignore[attr-defined]
    elif order == ORDERS[1]:
        graph.y = graph.op("Mul", half_, graph.op("Mul", x, total))  # type: ignore[attr-defined]
    elif order == ORDERS[2]:
        graph.y = graph.op("Mul", x, graph.op("Mul", half_, total))  # type: ignore[attr-defined]
    elif order == ORDERS[3]:
        graph.y = graph.op("Mul", graph.op("Mul", x, half_), total)  # type: ignore[attr-defined]
    else:
        graph.y = graph.op("Mul", total, graph.op("Mul", half_, x))  # type: ignore[attr-defined]
    graph.total = total  # type: ignore[attr-defined]
    return graph


def model_of(graph: SmallGraph, *, opset: int = 20, **outputs: ir.Value) -> ir.Model:
    model = graph.model(y=graph.y, **outputs)  # type: ignore[attr-defined]
    model.graph.opset_imports[""] = opset
    return model


@pytest.mark.parametrize("product", [False, True], ids=["x/√2", "x·√½"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_factors_becomes_gelu(order: str, product: bool) -> None:
    found = rewritten(fuse_gelu, lambda: model_of(written_out(order, product=product)), X, close=CLOSE)
    assert found == (1, {"Gelu": 1})


@pytest.mark.parametrize("name", [name for name in EXPORTS if "dynamo" not in name])
def test_every_gelu_of_the_tracers_exports_is_found(name: str) -> None:
    export = foreign_graph(name)
    n_gelu = export.dims.n_audio_layer + 2 if name.endswith("encoder") else export.dims.n_text_layer
    count, operators = rewritten(fuse_gelu, lambda: export.model(), export.inputs(), close=CLOSE)
    assert (count, operators["Gelu"], operators.get("Erf")) == (n_gelu, n_gelu, None)


def test_the_graph_is_raised_to_the_opset_that_has_gelu() -> None:
    model = model_of(written_out(), opset=17)
    assert fuse_gelu(model.graph) == 1
    assert opset_of(model.graph) == 20


def test_a_graph_that_cannot_be_raised_gets_onnx_runtimes_operator() -> None:
    def build() -> ir.Model:
        graph = written_out()
        mean = graph.op("ReduceMean", graph.y, axes=[1])  # type: ignore[attr-defined]
        return model_of(graph, opset=17, mean=mean)

    assert rewritten(fuse_gelu, build, X, close=CLOSE) == (1, {"com.microsoft::Gelu": 1, "ReduceMean": 1})


@pytest.mark.parametrize("changes", [{"root": 1.5}, {"one": 0.9}, {"half": 0.6}], ids=str)
def test_other_constants_are_no_gelu(changes: dict[str, float]) -> None:
    assert fuse_gelu(model_of(written_out(**changes)).graph) == 0  # type: ignore[arg-type]


def test_an_intermediate_value_that_is_seen_stays() -> None:
    graph = written_out()
    assert fuse_gelu(model_of(graph, total=graph.total).graph) == 0  # type: ignore[attr-defined]


def test_the_square_of_the_sum_is_no_gelu() -> None:
    graph = written_out()
    squared = graph.op("Mul", graph.total, graph.total)  # type: ignore[attr-defined]
    model = graph.model(y=graph.op("Mul", squared, graph.constant("half_2", np.asarray(0.5, np.float32))))
    assert fuse_gelu(model.graph) == 0
