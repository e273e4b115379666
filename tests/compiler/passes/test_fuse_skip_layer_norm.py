"""A residual and the norm after it become one operator of ONNX Runtime."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.passes.fuse_skip_layer_norm import fuse_skip_layer_norm
from tests.compiler.foreign_graphs import foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

GENERATOR = np.random.default_rng(0)
INPUTS = {name: GENERATOR.standard_normal((2, 3, 6)).astype(np.float32) for name in ("x", "branch")}


def residual(*, axis: int = -1, seen: bool = False, branch_shape: tuple[int | str, ...] = ("n", "t", 6)) -> ir.Model:
    """norm(x + (branch + bias)) and, from the sum, the next residual."""
    inputs = {"x": (ir.DataType.FLOAT, ["n", "t", 6]), "branch": (ir.DataType.FLOAT, list(branch_shape))}
    graph = SmallGraph(inputs)  # type: ignore[arg-type]
    biased = graph.op("Add", graph.inputs["branch"], graph.constant("bias", np.arange(6, dtype=np.float32)))
    total = graph.op("Add", graph.inputs["x"], biased)
    lengths = (6,) if axis == -1 else (3, 6)
    weight, shift = (graph.constant(name, np.full(lengths, 0.5, np.float32)) for name in ("weight", "shift"))
    norm = graph.op("LayerNormalization", total, weight, shift, axis=axis, epsilon=1e-5)
    outputs = {"y": norm, "next": graph.op("Mul", total, total)}
    return graph.model(**outputs, **({"total": total} if seen else {}))


@pytest.mark.parametrize("fold_bias", [False, True])
def test_the_sum_goes_on_beside_the_norm(fold_bias: bool) -> None:
    count, operators = rewritten(
        lambda graph: fuse_skip_layer_norm(graph, fold_bias=fold_bias), residual, INPUTS, close=CLOSE
    )
    left = {} if fold_bias else {"Add": 1}
    assert (count, operators) == (1, {"com.microsoft::SkipLayerNormalization": 1, "Mul": 1, **left})


@pytest.mark.parametrize(
    ("name", "n_norms"),
    [
        ("openai-torchscript/encoder", 4),
        ("transformers-torchscript/encoder", 4),
        ("transformers-torchscript/decoder", 7),
        ("transformers-torchscript/decoder_with_past", 7),
    ],
)
def test_residuals_of_foreign_exports_are_found(name: str, n_norms: int) -> None:
    from stagewhisper.compiler.passes.normalise_export import normalise_export

    export = foreign_graph(name)

    def build() -> ir.Model:
        model = export.model()
        normalise_export(model.graph)
        return model

    count, operators = rewritten(fuse_skip_layer_norm, build, export.inputs(), close=CLOSE)
    assert count == operators["com.microsoft::SkipLayerNormalization"] == n_norms


@pytest.mark.parametrize("changes", [{"axis": 1}, {"seen": True}, {"branch_shape": ("n", 1, 6)}], ids=str)
def test_what_the_operator_cannot_do_stays(changes: dict[str, object]) -> None:
    assert fuse_skip_layer_norm(residual(**changes).graph) == 0  # type: ignore[arg-type]
