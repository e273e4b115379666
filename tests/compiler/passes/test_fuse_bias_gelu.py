"""A bias and GELU become one operator of ONNX Runtime."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.passes.fuse_bias_gelu import fuse_bias_gelu
from stagewhisper.compiler.passes.fuse_gelu import fuse_gelu
from tests.compiler.foreign_graphs import foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

X = {"x": np.random.default_rng(0).standard_normal((2, 3, 6)).astype(np.float32)}


def biased_gelu(
    bias: np.ndarray, *, approximate: str = "none", bias_first: bool = False, seen: bool = False
) -> ir.Model:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", "t", 6])})
    operands = [graph.inputs["x"], graph.constant("bias", bias)]
    total = graph.op("Add", *(operands[::-1] if bias_first else operands))
    y = graph.op("Gelu", total, approximate=approximate)
    return graph.model(y=y, total=total) if seen else graph.model(y=y)


@pytest.mark.parametrize("bias_first", [False, True])
def test_a_bias_on_either_side_is_taken_in(bias_first: bool) -> None:
    bias = np.arange(6, dtype=np.float32)
    found = rewritten(fuse_bias_gelu, lambda: biased_gelu(bias, bias_first=bias_first), X, close=CLOSE)
    assert found == (1, {"com.microsoft::BiasGelu": 1})


@pytest.mark.parametrize("name", ["openai-torchscript/encoder", "openai-torchscript/decoder", "openai-dynamo/encoder"])
def test_the_mlps_of_foreign_exports_are_found_and_convolutions_are_not(name: str) -> None:
    export = foreign_graph(name)

    def build() -> ir.Model:
        model = export.model()
        fuse_gelu(model.graph)
        return model

    count, operators = rewritten(fuse_bias_gelu, build, export.inputs(), close=CLOSE)
    assert count == operators["com.microsoft::BiasGelu"] == 2
    assert operators.get("Gelu", 0) == (2 if name.endswith("encoder") else 0)  # of the two convolutions


@pytest.mark.parametrize(
    "bias",
    [np.ones(1, np.float32), np.ones((1, 6), np.float32), np.asarray(1.0, np.float32)],
    ids=["one number", "a matrix", "a scalar"],
)
def test_what_is_no_vector_of_the_last_length_stays(bias: np.ndarray) -> None:
    assert fuse_bias_gelu(biased_gelu(bias).graph) == 0


def test_the_approximation_stays() -> None:
    assert fuse_bias_gelu(biased_gelu(np.ones(6, np.float32), approximate="tanh").graph) == 0


def test_a_sum_that_is_seen_stays() -> None:
    assert fuse_bias_gelu(biased_gelu(np.ones(6, np.float32), seen=True).graph) == 0
