"""Foreign graphs lose what exporters put in, and compute what they did; our own stay as they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import ints_of, nodes_of
from stagewhisper.compiler.passes.normalise_export import normalise_export
from tests.checkpoints import save_openai
from tests.compiler.foreign_graphs import DIMS, EXPORTS, foreign_graph, op_counts, run
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

FLOAT = ir.DataType.FLOAT


@pytest.mark.parametrize("name", EXPORTS)
def test_foreign_graphs_get_smaller_and_compute_the_same(name: str) -> None:
    export = foreign_graph(name)
    before = op_counts(export.model().graph)
    count, after = rewritten(normalise_export, export.model, export.inputs(n_seq=3), close=CLOSE)
    assert count >= 12  # at least six for each of the two layers
    assert sum(after.values()) < sum(before.values())
    assert "IsNaN" not in after
    assert after["Softmax"] == before["Softmax"]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize(
    "lengths", [{"n_seq": 1, "n_new": 1, "n_past": 440}, {"n_seq": 5, "n_new": 6, "n_past": 0}], ids=str
)
def test_they_compute_the_same_at_lengths_that_were_not_tried(name: str, lengths: dict[str, int]) -> None:
    export = foreign_graph(name)
    if name.startswith("openai") and name.endswith("with_past"):
        lengths = lengths | {"n_new": 1, "n_past": max(lengths["n_past"], 1)}
    model, inputs = export.model(), export.inputs(**lengths)
    expected = run(model, inputs)
    normalise_export(model.graph)
    for output, array in run(model, inputs).items():
        np.testing.assert_allclose(array, expected[output], atol=CLOSE * max(1, np.abs(expected[output]).max()))


@pytest.mark.parametrize("name", EXPORTS)
def test_heads_are_split_and_merged_by_constants(name: str) -> None:
    model = foreign_graph(name).model()
    normalise_export(model.graph)
    of_activations = [node for node in nodes_of(model.graph, "Reshape") if _feeds_transpose_or_matmul(node)]
    assert len(of_activations) >= 8
    assert all(ints_of(node.inputs[1]) is not None for node in of_activations)


def _feeds_transpose_or_matmul(node: ir.Node) -> bool:
    return any(use.node.op_type in ("Transpose", "MatMul") for use in node.outputs[0].uses())


@pytest.mark.parametrize("export", [export_encoder, export_decoder])
def test_our_own_export_stays(export: Callable[..., ir.Model], tmp_path: Path) -> None:
    model = export(load_checkpoint(save_openai(tmp_path / "random.pt", DIMS)))
    assert normalise_export(model.graph) == 0


def attention(*, mask: np.ndarray | None = None, guard_value: float = 0.0, scale: float = 0.5) -> ir.Model:
    """Scores of q and k that are both scaled, a mask, a guarded softmax."""
    graph = SmallGraph({"q": (FLOAT, ["n", 2, "t", 4]), "k": (FLOAT, ["n", 2, 3, 4])})
    factor = graph.constant("factor", np.asarray(scale, np.float32))
    keys = graph.op("Transpose", graph.op("Mul", graph.inputs["k"], factor), perm=[0, 1, 3, 2])
    scores = graph.op("MatMul", graph.op("Mul", graph.inputs["q"], factor), keys)
    if mask is not None:
        scores = graph.op("Add", scores, graph.constant("mask", mask))
    weights = graph.op("Softmax", scores, axis=-1)
    zero = graph.constant("zero", np.asarray(guard_value, np.float32))
    guarded = graph.op("Where", graph.op("IsNaN", weights), zero, weights)
    return graph.model(y=graph.op("Mul", guarded, guarded))


ATTENTION_INPUTS = {
    name: np.random.default_rng(1).standard_normal((2, 2, 3, 4)).astype(np.float32) for name in ("q", "k")
}
CAUSAL = np.where(np.tri(3, dtype=bool), 0, -np.inf).astype(np.float32)


def test_scale_moves_to_the_queries_and_the_guard_goes() -> None:
    count, operators = rewritten(normalise_export, lambda: attention(mask=CAUSAL), ATTENTION_INPUTS, close=CLOSE)
    assert count == 2
    assert operators == {"Mul": 2, "Transpose": 1, "MatMul": 1, "Add": 1, "Softmax": 1}


def test_the_guard_stays_where_a_row_has_no_key() -> None:
    blind = CAUSAL.copy()
    blind[0] = -np.inf
    _, operators = rewritten(normalise_export, lambda: attention(mask=blind), ATTENTION_INPUTS, close=CLOSE)
    assert operators["IsNaN"] == operators["Where"] == 1


@pytest.mark.parametrize(
    "changes", [{"guard_value": 1.0, "mask": CAUSAL}, {"mask": None}], ids=["other value", "no mask"]
)
def test_other_guards_stay(changes: dict[str, object]) -> None:
    model = attention(**changes)  # type: ignore[arg-type]
    normalise_export(model.graph)
    assert op_counts(model.graph)["Where"] == 1


def test_a_negative_scale_stays_where_it_is() -> None:
    assert normalise_export(attention(scale=-0.5).graph) == 0


def test_layouts_that_do_something_stay() -> None:
    graph = SmallGraph({"x": (FLOAT, ["n", 6])})
    x = graph.inputs["x"]

    def numbers(name: str, *values: int) -> ir.Value:
        return graph.constant(name, np.asarray(values, np.int64))

    backwards = graph.op("Slice", x, numbers("start", 5), numbers("end", -7), numbers("axis", 1), numbers("step", -1))
    wide = graph.op("Expand", backwards, numbers("shape", 2, 1, 1))
    turned = graph.op("Reshape", wide, numbers("target", 2, 3, -1))
    rounded = graph.op("Cast", graph.op("Cast", turned, to=ir.DataType.INT32.value), to=FLOAT.value)
    model = graph.model(y=graph.op("Sub", graph.constant("nought", np.asarray(0, np.float32)), rounded))
    assert normalise_export(model.graph) == 0
