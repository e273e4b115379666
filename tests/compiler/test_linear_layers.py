"""Products with constant matrices are found in every form in which exporters write them, and nothing else is."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.linear_layers import LinearLayer, linear_layers
from tests.compiler.graphs import SmallGraph, run

N_IN, N_OUT = 6, 4
MICROSOFT = {"domain": "com.microsoft"}


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)


def small() -> SmallGraph:
    return SmallGraph({"x": (ir.DataType.FLOAT, ["n", N_IN])})


def plain(build: SmallGraph) -> ir.Value:
    return build.op("MatMul", build.inputs["x"], build.constant("w", weight(N_IN, N_OUT)))


def biased(build: SmallGraph) -> ir.Value:
    return build.op("Add", build.constant("b", weight(N_OUT)), plain(build))


def turned(build: SmallGraph) -> ir.Value:
    across = build.op("Transpose", build.constant("w", weight(N_OUT, N_IN)), perm=[1, 0])
    return build.op("MatMul", build.inputs["x"], across)


def fused(build: SmallGraph) -> ir.Value:
    w = build.constant("w", weight(N_OUT, N_IN))
    return build.op("FusedMatMul", build.inputs["x"], w, transB=1, alpha=0.5, **MICROSOFT)


def gemm(build: SmallGraph) -> ir.Value:
    w, b = build.constant("w", weight(N_OUT, N_IN)), build.constant("b", weight(N_OUT))
    return build.op("Gemm", build.inputs["x"], w, b, transB=1, alpha=2.0)


@pytest.mark.parametrize("write", [plain, biased, turned, fused, gemm])
def test_the_layer_computes_what_its_nodes_do(write: object) -> None:
    build = small()
    model = build.model(y=write(build))  # type: ignore[operator]
    (layer,) = linear_layers(model.graph)
    assert (layer.n_in, layer.n_out, layer.name) == (N_IN, N_OUT, "w")
    assert layer.output.name == "y"
    x = weight(3, N_IN)
    expected = x @ layer.rows(constant(layer.weight)).T
    if layer.bias is not None:
        expected = expected + constant(layer.bias)
    assert (layer.bias is not None) == (write in (biased, gemm))
    np.testing.assert_allclose(run(model, {"x": x})["y"], expected, atol=1e-5)


def constant(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy()


def of_two_inputs(build: SmallGraph) -> ir.Value:
    return build.op("MatMul", build.inputs["x"], build.op("Transpose", build.inputs["x"], perm=[1, 0]))


def weight_first(build: SmallGraph) -> ir.Value:
    across = build.op("Transpose", build.inputs["x"], perm=[1, 0])
    return build.op("MatMul", build.constant("w", weight(N_OUT, N_IN)), across)


def stacked(build: SmallGraph) -> ir.Value:
    return build.op("MatMul", build.inputs["x"], build.constant("w", weight(2, N_IN, N_OUT)))


def of_turned_input(build: SmallGraph) -> ir.Value:
    w = build.constant("w", weight(N_IN, N_OUT))
    return build.op("FusedMatMul", build.op("Transpose", build.inputs["x"]), w, transA=1, **MICROSOFT)


def gemm_with_a_matrix_added(build: SmallGraph) -> ir.Value:
    w, c = build.constant("w", weight(N_IN, N_OUT)), build.constant("c", weight(1, N_OUT))
    return build.op("Gemm", build.inputs["x"], w, c)


@pytest.mark.parametrize("write", [of_two_inputs, weight_first, stacked, of_turned_input, gemm_with_a_matrix_added])
def test_other_products_are_no_layers(write: object) -> None:
    build = small()
    assert list(linear_layers(build.model(y=write(build)).graph)) == []  # type: ignore[operator]


def test_a_bias_is_left_alone_where_the_product_is_used_without_it() -> None:
    build = small()
    product = plain(build)
    total = build.op("Add", product, build.constant("b", weight(N_OUT)))
    (layer,) = linear_layers(build.model(y=total, product=product).graph)
    assert layer.bias is None
    assert layer.output.name == "product"


def test_what_is_added_is_no_bias_unless_it_is_one_row() -> None:
    build = small()
    total = build.op("Add", plain(build), build.constant("positions", weight(3, N_OUT)))
    (layer,) = linear_layers(build.model(y=total).graph)
    assert layer.bias is None


def test_layers_are_chosen_by_name() -> None:
    build = SmallGraph({"x": (ir.DataType.FLOAT, ["n", N_IN])})
    for name, n_out in (("mlp.0.weight.T", N_IN), ("mlp.2.weight.T", N_IN), ("embedding", 16 * N_IN)):
        build.inputs["x"] = build.op("MatMul", build.inputs["x"], build.constant(name, weight(N_IN, n_out)))
    graph = build.model(y=build.inputs.pop("x")).graph

    def names(**patterns: object) -> list[str]:
        return [layer.name for layer in linear_layers(graph, **patterns)]  # type: ignore[arg-type]

    assert names() == ["mlp.0.weight", "mlp.2.weight", "embedding"]
    assert names(only=["mlp.*"]) == ["mlp.0.weight", "mlp.2.weight"]
    assert names(only=["mlp.*"], keep=["*.2.weight"]) == ["mlp.0.weight"]
    assert names(keep=["vocabulary"]) == ["mlp.0.weight", "mlp.2.weight"]
    assert names(only=["vocabulary"]) == ["embedding"]


def test_a_layer_is_known_by_its_node_where_the_exporter_numbered_its_weight() -> None:
    build = small()
    model = build.model(y=plain(build))
    model.graph[0].name = "/blocks.0/mlp/MatMul"
    assert [layer.name for layer in linear_layers(model.graph, only=["*/mlp/*"])] == ["w"]
    assert isinstance(next(linear_layers(model.graph)), LinearLayer)
