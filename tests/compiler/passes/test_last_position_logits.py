"""Exports that compute logits of all tokens compute those of the last one only."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.contract import contract_of
from stagewhisper.compiler.export import export_decoder
from stagewhisper.compiler.passes.last_position_logits import last_position_logits
from stagewhisper.compiler.verify import verify
from tests.checkpoints import save_openai
from tests.compiler.foreign_graphs import DIMS, EXPORTS, foreign_graph, run
from tests.compiler.passes.rewriting import CLOSE

WITH_ALL_LOGITS = [
    name
    for name in EXPORTS
    if not name.endswith("encoder") and not (name.startswith("openai") and name.endswith("with_past"))
]


@pytest.mark.parametrize("name", WITH_ALL_LOGITS)
def test_the_last_position_is_what_it_was(name: str) -> None:
    export = foreign_graph(name)
    model, inputs = export.model(), export.inputs(n_seq=3, n_new=4)
    expected = run(model, inputs)
    assert last_position_logits(model.graph) == 1
    verify(model)
    assert last_position_logits(model.graph) == 0
    found = run(model, inputs)
    assert found["logits"].shape == (3, 1, DIMS.n_vocab)
    np.testing.assert_allclose(found.pop("logits"), expected.pop("logits")[:, -1:], atol=CLOSE)
    for output, array in expected.items():
        np.testing.assert_array_equal(found[output], array)


def test_the_final_norm_and_the_projection_see_one_position() -> None:
    model = foreign_graph("transformers-torchscript/decoder").model()
    last_position_logits(model.graph)
    logits = next(value for value in model.graph.outputs if value.name == "logits")
    projection = logits.producer()
    assert projection is not None
    norm = projection.inputs[0].producer()  # type: ignore[union-attr]
    assert norm is not None
    assert (norm.op_type, norm.inputs[0].producer().op_type) == ("LayerNormalization", "Slice")  # type: ignore[union-attr]
    assert logits.shape is not None
    assert logits.shape[1] == 1


def test_what_is_not_computed_any_more_is_declared_unknown() -> None:
    export = foreign_graph("transformers-torchscript/decoder")
    model, inputs = export.model(), export.inputs(n_new=4)
    before = run(model, inputs)["logits"]
    last_position_logits(model.graph)
    adapted = contract_of(last_position_logits).adapt_outputs(run(model, inputs), inputs)["logits"]
    assert adapted.shape == before.shape
    assert np.isnan(adapted[:, :-1]).all()
    np.testing.assert_allclose(adapted[:, -1], before[:, -1], atol=CLOSE)


@pytest.mark.parametrize("name", ["openai-torchscript/decoder_with_past", "openai-torchscript/encoder"])
def test_a_graph_with_one_token_or_none_stays(name: str) -> None:
    assert last_position_logits(foreign_graph(name).model().graph) == 0


def test_our_own_export_computes_what_it_is_asked_for_already(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", DIMS))
    assert last_position_logits(export_decoder(checkpoint).graph) == 0


def test_logits_that_the_graph_uses_itself_stay() -> None:
    model = foreign_graph("transformers-torchscript/decoder").model()
    logits = next(value for value in model.graph.outputs if value.name == "logits")
    best = ir.node("ArgMax", [logits], {"axis": -1})
    model.graph.append(best)
    best.outputs[0].name, best.outputs[0].type = "best", ir.TensorType(ir.DataType.INT64)
    model.graph.outputs.append(best.outputs[0])
    assert last_position_logits(model.graph) == 0
