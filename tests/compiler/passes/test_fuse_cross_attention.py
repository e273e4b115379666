"""Attention to the audio becomes one operator for all beams of a window, in both graphs, with the same numbers."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import decoder_cases, encoder_cases, recorded_windows
from stagewhisper.compiler.equivalence import Case, Equivalence
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import new_op, nodes_of
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.broadcast_tile import broadcast_tile
from stagewhisper.compiler.passes.fuse_cross_attention import fuse_cross_attention
from stagewhisper.compiler.recipe import load_recipe
from stagewhisper.compiler.verify import verify
from tests.checkpoints import random_dims, save_openai
from tests.compiler.foreign_graphs import op_counts

N_LAYER = 2
TOLERANCE = 2e-6  # sums in another order; logits are near unit size
MHA = "com.microsoft::MultiHeadAttention"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32, n_audio_layer=1, n_text_layer=N_LAYER)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("checkpoint") / "random.pt", dims, seed=4))


@pytest.fixture(scope="module")
def cases(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    return decoder_cases(
        export_encoder(checkpoint),
        export_decoder(checkpoint),
        recorded_windows(checkpoint.dims),
        prompt=(50258, 50259, 50359, 50363),
        folder=tmp_path_factory.mktemp("cases"),
    )


def folded_decoder(checkpoint: Checkpoint) -> ir.Model:
    model = export_decoder(checkpoint)
    assert broadcast_tile(model.graph) == 2 * N_LAYER
    return model


def key_shapes(values: list[ir.Value]) -> list[list[int | str]]:
    keys = [value for value in values if (value.name or "").startswith("cross_k_")]
    return [[dim if isinstance(dim, int) else str(dim.value) for dim in value.shape or ()] for value in keys]


def test_every_layer_of_the_decoder_gets_one_operator(checkpoint: Checkpoint) -> None:
    model = folded_decoder(checkpoint)
    before = op_counts(model.graph)
    assert fuse_cross_attention(model.graph) == 2 * N_LAYER
    verify(model)
    after = op_counts(model.graph)
    assert after[MHA] == N_LAYER
    assert after["Softmax"] == before["Softmax"] - N_LAYER
    assert after["Transpose"] == before["Transpose"] - 2 * N_LAYER
    assert after["Mul"] == before["Mul"] - N_LAYER
    assert key_shapes(list(model.graph.inputs)) == [["n_audio", 2, 60, 16]] * N_LAYER
    assert all(
        node.attributes["scale"].value == pytest.approx(0.25)
        for node in nodes_of(model.graph, "MultiHeadAttention", domain="com.microsoft")
    )


def test_the_encoder_gives_keys_as_the_decoder_takes_them(checkpoint: Checkpoint) -> None:
    model = export_encoder(checkpoint)
    before = op_counts(model.graph)
    assert fuse_cross_attention(model.graph) == N_LAYER
    verify(model)
    assert op_counts(model.graph) == before
    assert key_shapes(list(model.graph.outputs)) == [["n_audio", 2, 60, 16]] * N_LAYER
    names = [output.name for output in model.graph.outputs]
    assert names == [output.name for output in export_encoder(checkpoint).graph.outputs]


@pytest.mark.parametrize("first", [("broadcast_tile",), ("make_kv_cache_static", "broadcast_tile")])
def test_prompts_and_steps_of_all_batches_stay_the_same(
    checkpoint: Checkpoint, cases: tuple[Case, ...], first: tuple[str, ...], tmp_path: Path
) -> None:
    steps = [PassStep(name) for name in (*first, "fuse_cross_attention")]
    report = run_passes(export_decoder(checkpoint), steps, equivalence=Equivalence(cases, tmp_path))
    assert report.difference is not None
    assert report.difference < TOLERANCE


def test_the_encoders_numbers_stay_the_same(checkpoint: Checkpoint, tmp_path: Path) -> None:
    mel = recorded_windows(checkpoint.dims)
    equivalence = Equivalence(encoder_cases(mel), tmp_path)
    report = run_passes(export_encoder(checkpoint), [PassStep("fuse_cross_attention")], equivalence=equivalence)
    assert report.difference == 0


def test_a_decoder_of_the_recipe_exact_has_no_transpose_left(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    run_passes(model, load_recipe("exact").steps_for("decoder"))
    assert "Transpose" not in op_counts(model.graph)


def test_beams_that_are_not_folded_are_left_as_they_are_but_for_the_layout_of_keys(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    model = export_decoder(checkpoint)
    equivalence = Equivalence(cases, tmp_path)
    report = run_passes(model, [PassStep("fuse_cross_attention")], equivalence=equivalence)
    assert report.passes[0].rewrites == N_LAYER
    assert report.difference == 0
    assert MHA not in op_counts(model.graph)
    assert op_counts(model.graph)["Transpose"] == op_counts(export_decoder(checkpoint).graph)["Transpose"] + N_LAYER


def test_weights_that_are_read_elsewhere_stay(checkpoint: Checkpoint) -> None:
    model = folded_decoder(checkpoint)
    softmax = list(nodes_of(model.graph, "Softmax"))[1]
    weights = softmax.outputs[0]
    copy = new_op(model.graph, next(iter(weights.uses())).node, "Identity", weights)
    copy.name, copy.dtype, copy.shape = "weights", ir.DataType.FLOAT, ir.Shape(["n", 2, "rows", 60])
    model.graph.outputs.append(copy)
    assert fuse_cross_attention(model.graph) == 2 * N_LAYER - 1
    verify(model)
    assert op_counts(model.graph)[MHA] == N_LAYER - 1


def test_int8_keys_are_left_alone(checkpoint: Checkpoint) -> None:
    model = folded_decoder(checkpoint)
    run_passes(model, [PassStep("quantize_cross_kv")])
    assert fuse_cross_attention(model.graph) == 0


def test_a_second_run_finds_nothing(checkpoint: Checkpoint) -> None:
    for model in (folded_decoder(checkpoint), export_encoder(checkpoint), export_decoder(checkpoint)):
        assert fuse_cross_attention(model.graph) > 0
        before = op_counts(model.graph)
        assert fuse_cross_attention(model.graph) == 0
        assert op_counts(model.graph) == before


def test_keys_are_turned_for_the_decoder_and_back_for_whoever_compares(checkpoint: Checkpoint) -> None:
    contract = fuse_cross_attention.__dict__["contract"]
    model = folded_decoder(checkpoint)
    fuse_cross_attention(model.graph)
    keys = np.arange(2 * 16 * 60, dtype=np.float32).reshape(1, 2, 16, 60)
    turned = contract.adapt_inputs({"cross_k_0": keys, "cross_v_0": keys.swapaxes(2, 3)}, model.graph)
    assert np.array_equal(turned["cross_k_0"], keys.swapaxes(2, 3))
    assert np.array_equal(turned["cross_v_0"], keys.swapaxes(2, 3))
    back = contract.adapt_outputs({"cross_k_0": turned["cross_k_0"], "cross_v_0": keys}, {})
    assert np.array_equal(back["cross_k_0"], keys)
    assert np.array_equal(back["cross_v_0"], keys)
