"""Int8 cross-attention: the encoder gives integers and scales, the decoder attends to them, and logits stay close."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import decoder_cases, encoder_cases, recorded_windows
from stagewhisper.compiler.cross_attention import cross_attention, cross_pairs
from stagewhisper.compiler.equivalence import Case, Equivalence, GraphRunner
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.broadcast_tile import broadcast_tile
from stagewhisper.compiler.passes.quantize_cross_kv import quantize_cross_kv
from stagewhisper.compiler.scratch import Scratch
from tests.checkpoints import random_dims, save_openai
from tests.compiler import foreign_graphs
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.quantized import same_words, sample_tokens

N_LAYER = 2
HALF_A_STEP = 1 / 254


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
    """A decoder whose beams are rows of the query."""
    model = export_decoder(checkpoint)
    assert broadcast_tile(model.graph) == 2 * N_LAYER
    return model


def run(model: ir.Model, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    runner = GraphRunner(Scratch(folder).save(model), aliases=aliases_of(model.graph))
    return dict(runner.run(inputs))


def test_the_encoder_gives_integers_scales_and_last_frames(checkpoint: Checkpoint, tmp_path: Path) -> None:
    mel = recorded_windows(checkpoint.dims)
    before = run(export_encoder(checkpoint), {"mel": mel}, tmp_path)
    model = export_encoder(checkpoint)
    assert quantize_cross_kv(model.graph) == 2 * N_LAYER
    after = run(model, {"mel": mel}, tmp_path)
    for layer in range(N_LAYER):
        for kind, floats in (("k", before[f"cross_k_{layer}"].swapaxes(2, 3)), ("v", before[f"cross_v_{layer}"])):
            integers, scale = after[f"cross_{kind}_{layer}"], after[f"cross_{kind}_scale_{layer}"]
            along = scale.swapaxes(2, 3) if kind == "k" else scale
            assert integers.dtype == np.int8
            mean = after[f"cross_v_mean_{layer}"] if kind == "v" else np.float32(0)
            assert np.all(np.abs(integers * along + mean - floats) <= 0.5001 * along + 1e-6)
            assert np.all(np.abs(integers).max(axis=2) == 127), "every channel of every window uses the whole range"
            last = after[f"cross_{kind}_last_{layer}"]
            np.testing.assert_array_equal(last[:, 0], integers[:, :, -1].reshape(len(mel), -1))
    np.testing.assert_array_equal(after["audio_features"], before["audio_features"])


def test_windows_of_a_batch_do_not_influence_each_other(checkpoint: Checkpoint, tmp_path: Path) -> None:
    mel = recorded_windows(checkpoint.dims)
    mel[1] *= 3
    model = export_encoder(checkpoint)
    quantize_cross_kv(model.graph)
    together = run(model, {"mel": mel}, tmp_path)
    alone = run(model, {"mel": mel[:1]}, tmp_path)
    for name, array in alone.items():
        atol = 1 if array.dtype == np.int8 else 1e-5  # float32 sums in another order may tip a rounding over
        np.testing.assert_allclose(together[name][:1], array, atol=atol)


@pytest.mark.parametrize("kernel", [True, False])
def test_encoder_and_decoder_agree_on_their_tensors(checkpoint: Checkpoint, kernel: bool) -> None:
    encoder, decoder = export_encoder(checkpoint), folded_decoder(checkpoint)
    for model in (encoder, decoder):
        assert quantize_cross_kv(model.graph, kernel=kernel) == 2 * N_LAYER
    given = signature(encoder.graph.outputs)
    assert given == signature(decoder.graph.inputs)
    assert len(given) == N_LAYER * (7 if kernel else 5)


def signature(values: Sequence[ir.Value]) -> dict[str | None, tuple[object, str]]:
    found = [value for value in values if (value.name or "").startswith("cross_")]
    return {value.name: (value.dtype, str(value.shape)) for value in found}


def test_every_layer_attends_by_the_kernel_where_a_window_has_one_row(checkpoint: Checkpoint) -> None:
    model = folded_decoder(checkpoint)
    quantize_cross_kv(model.graph)
    branches = [node.attributes["then_branch"].as_graph() for node in model.graph if node.op_type == "If"]
    assert [op_counts(branch) for branch in branches] == [{"com.microsoft::GroupQueryAttention": 1, "Reshape": 2}] * 2
    assert op_counts(model.graph)["If"] == N_LAYER
    assert aliases_of(model.graph) == {
        f"cross_{kind}_{layer}": f"unchanged_cross_{kind}_{layer}" for layer in range(N_LAYER) for kind in "kv"
    }


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("fold_beams", [True, False])
def test_logits_stay_close(
    checkpoint: Checkpoint, cases: tuple[Case, ...], fold_beams: bool, kernel: bool, tmp_path: Path
) -> None:
    """Prompts and steps, one beam and five, one window and two."""
    steps = [PassStep("broadcast_tile")] if fold_beams else []
    steps.append(PassStep("quantize_cross_kv", {"kernel": kernel}))
    report = run_passes(export_decoder(checkpoint), steps, equivalence=Equivalence(cases, tmp_path))
    assert report.passes[-1].rewrites == 2 * N_LAYER
    difference = report.passes[-1].difference
    assert difference is not None
    assert 0 < difference < HALF_A_STEP  # errors of many frames cancel each other out


def test_the_encoders_numbers_stay_close(checkpoint: Checkpoint, tmp_path: Path) -> None:
    cases = encoder_cases(recorded_windows(checkpoint.dims))
    report = run_passes(
        export_encoder(checkpoint), [PassStep("quantize_cross_kv")], equivalence=Equivalence(cases, tmp_path)
    )
    difference = report.passes[0].difference
    assert difference is not None
    assert difference < 1.01 * HALF_A_STEP


def test_the_kernel_leaves_the_bound_buffers_as_they_were(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    from stagewhisper.compiler.contract import contract_of

    model = folded_decoder(checkpoint)
    quantize_cross_kv(model.graph)
    for case in cases:
        inputs = dict(contract_of(quantize_cross_kv).adapt_inputs(case.inputs, model.graph))
        outputs = run(model, inputs, tmp_path)
        for source, target in aliases_of(model.graph).items():
            np.testing.assert_array_equal(outputs[target], inputs[source])


def test_attention_whose_weights_are_read_elsewhere_is_left_as_it_is(checkpoint: Checkpoint) -> None:
    model = folded_decoder(checkpoint)
    (first, *_) = cross_pairs(model.graph.inputs)
    found = cross_attention(first)
    assert found is not None
    weights = found.output.inputs[0]
    assert weights is not None
    weights.name, weights.type = "weights", ir.TensorType(ir.DataType.FLOAT)
    model.graph.outputs.append(weights)
    assert cross_attention(first) is None
    assert quantize_cross_kv(model.graph) == 2 * N_LAYER
    assert op_counts(model.graph)["If"] == N_LAYER - 1


def test_it_declines_graphs_without_cross_attention_of_ours() -> None:
    build = SmallGraph({"cross_k_0": (ir.DataType.FLOAT, [1, 2, 8, 60]), "x": (ir.DataType.FLOAT, [1, 2, 3, 8])})
    model = build.model(y=build.op("MatMul", build.inputs["x"], build.inputs["cross_k_0"]))
    assert quantize_cross_kv(model.graph) == 0
    foreign = foreign_graphs.foreign_graph("transformers-torchscript/decoder_with_past").model()
    assert quantize_cross_kv(foreign.graph) == 0


def test_a_second_run_changes_nothing(checkpoint: Checkpoint) -> None:
    for model in (export_encoder(checkpoint), folded_decoder(checkpoint), export_decoder(checkpoint)):
        assert quantize_cross_kv(model.graph) == 2 * N_LAYER
        before = op_counts(model.graph)
        assert quantize_cross_kv(model.graph) == 0
        assert op_counts(model.graph) == before


def test_nano_hears_the_same_words(tmp_path: Path) -> None:
    expected, _ = sample_tokens(tmp_path / "fp32")
    found, counts = sample_tokens(tmp_path / "int8", broadcast_tile, quantize_cross_kv)
    assert same_words(found, expected)
    assert len(expected) > 3
    assert counts == [2 * 2, 2 * 2 * 2]  # two layers; k and v, in encoder and decoder
