"""Shapes and masks that are tried out are those that ONNX Runtime finds."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.trial_lengths import TRIES, Trial, n_past_input, tokens_input, try_lengths
from tests.checkpoints import random_dims, save_openai
from tests.compiler.attention_graphs import Attention
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph, run
from tests.compiler.graphs import SmallGraph


@pytest.mark.parametrize("name", EXPORTS)
def test_every_shape_of_the_foreign_exports_is_found(name: str) -> None:
    foreign = foreign_graph(name)
    graph = foreign.model().graph
    for trial in try_lengths(graph):
        unknown = [node.op_type for node in graph for value in node.outputs if trial.shape(value) is None]
        assert unknown == []
        tokens = tokens_input(graph)
        one_token = tokens is not None and tokens.shape is not None and tokens.shape[1] == 1
        n_new = 1 if one_token else trial.lengths.n_new
        inputs = foreign.inputs(n_seq=trial.lengths.n_seq, n_new=n_new, n_past=trial.lengths.n_past)
        for output, array in run(foreign.model(), inputs).items():
            value = next(value for value in graph.outputs if value.name == output)
            if ".encoder." not in output:  # optimum calls their length free, and only 1500 will do
                assert trial.shape(value) == array.shape


def test_every_shape_of_our_exports_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300)
    checkpoint = load_checkpoint(save_openai(tmp_path_factory.mktemp("trial") / "random.pt", dims))
    for model in (export_encoder(checkpoint), export_decoder(checkpoint)):
        for trial in try_lengths(model.graph):
            assert all(trial.shape(value) is not None for node in model.graph for value in node.outputs)
    decoder = export_decoder(checkpoint).graph
    assert tokens_input(decoder) is decoder.inputs[0]
    assert n_past_input(decoder) is None


def test_a_mask_is_found_as_numbers() -> None:
    graph = Attention().model().graph
    mask = next(node for node in graph if node.op_type == "Where").outputs[0]
    for lengths, trial in zip(TRIES, try_lengths(graph), strict=True):
        array = trial.array(mask)
        assert array is not None
        visible = np.tri(lengths.n_new, lengths.n_past + lengths.n_new, lengths.n_past, dtype=bool)
        np.testing.assert_array_equal(array == 0, visible)
        np.testing.assert_array_equal(np.isneginf(array), ~visible)


def test_what_depends_on_other_numbers_than_lengths_is_unknown() -> None:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n_seq", 4]), "chosen": (ir.DataType.INT64, [1])})
    doubled = graph.op("Add", graph.inputs["x"], graph.inputs["x"])
    picked = graph.op("Reshape", doubled, graph.inputs["chosen"])
    strange = graph.op("Resize", doubled)
    model = graph.model(y=picked, z=strange)
    trial = Trial(model.graph, TRIES[0])
    assert trial.shape(doubled) == (4, 4)
    assert trial.array(doubled) is None
    assert trial.shape(picked) is None
    assert trial.shape(strange) is None
