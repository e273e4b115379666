"""Inputs of the decoder's products, sampled from the model itself: all products, many positions, real numbers."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import recorded_windows
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import source_names
from stagewhisper.compiler.linear_layers import linear_layers
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.balance_layer_norm import balance_layer_norm
from stagewhisper.compiler.passes.quantize_blockwise import quantize_blockwise
from stagewhisper.compiler.recipe import load_recipe
from stagewhisper.compiler.sampled_inputs import (
    N_SEQUENCES,
    N_TOKENS,
    SampledInputs,
    keep_sampled_inputs,
    sample_inputs,
    sampled_inputs_of,
    unsampled_inputs,
    wanted_by,
)
from stagewhisper.errors import CompilerError, OptionError
from stagewhisper.hub.known import embedded_path
from tests.compiler.passes.quantized import tied_model

ENGLISH, GERMAN = (50_258, 50_259, 50_359, 50_363), (50_258, 50_261, 50_359, 50_363)


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return load_checkpoint(embedded_path())


@pytest.fixture(scope="module")
def sampled(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> SampledInputs:
    return sample_inputs(
        export_encoder(nano),
        export_decoder(nano),
        recorded_windows(nano.dims),
        dims=nano.dims,
        prompts=[ENGLISH, GERMAN],
        folder=tmp_path_factory.mktemp("sampled"),
    )


def test_every_product_of_the_decoder_has_inputs_of_its_width(nano: Checkpoint, sampled: SampledInputs) -> None:
    layers = list(linear_layers(export_decoder(nano).graph))
    assert len(layers) == 8 * nano.dims.n_text_layer + 1
    n_positions = N_SEQUENCES * (len(ENGLISH) + N_TOKENS)
    for layer in layers:
        inputs = sampled.of(layer.weight.name or "")
        assert inputs.shape == (n_positions, layer.n_in)
        assert np.isfinite(inputs).all()
        assert inputs.std() > 0
    assert "no such weight" not in sampled


def test_query_key_and_value_share_a_file(nano: Checkpoint, sampled: SampledInputs) -> None:
    per_layer = 6  # into self-attention, out of it, the same of cross-attention, and two of the MLP
    assert len(list(sampled.folder.glob("*.npy"))) == per_layer * nano.dims.n_text_layer + 1


def test_texts_differ_from_sequence_to_sequence(sampled: SampledInputs) -> None:
    last = sampled.of(next(name for name in sampled.numbers if "token_embedding" in name))
    sequences = last.reshape(N_SEQUENCES, -1, last.shape[-1])[:, -1]
    assert len(np.unique(sequences.round(3), axis=0)) == N_SEQUENCES


def test_a_packed_weight_is_traced_to_the_weights_it_was_made_of(nano: Checkpoint, sampled: SampledInputs) -> None:
    model = export_decoder(nano)
    recipe = load_recipe("exact")
    run_passes(model, [step for step in recipe.steps_for("decoder") if step.name != "fuse_cross_attention"])
    layers = list(linear_layers(model.graph))
    assert any(len(source_names(layer.weight)) == 3 for layer in layers), "query, key and value in one"
    assert all(source_names(layer.weight)[0] in sampled for layer in layers)


def test_calibrated_rounding_changes_outputs_less(nano: Checkpoint, sampled: SampledInputs) -> None:
    """The weight that is rounded to 4 bits, on inputs that the model really had."""
    errors = {}
    for rounding in ("nearest", "calibrated"):
        model = export_decoder(nano)
        keep_sampled_inputs(model.graph, sampled)
        before = {layer.name: layer.rows(weight_of(layer.weight)) for layer in linear_layers(model.graph)}
        quantize_blockwise(
            model.graph, keep=["vocabulary"], bits=4, block_size=32, rounding=rounding, share_embedding=False
        )
        errors[rounding] = [error_of(node, before, sampled) for node in model.graph if node.op_type == "MatMulNBits"]
    assert len(errors["nearest"]) == 8 * nano.dims.n_text_layer
    ratios = np.array(errors["calibrated"]) / np.array(errors["nearest"])
    assert np.all(ratios < 0.7)


def weight_of(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy()


def error_of(node: ir.Node, before: dict[str, np.ndarray], sampled: SampledInputs) -> float:
    integers, scales = (weight_of(value) for value in node.inputs[1:3] if value is not None)
    name = (node.inputs[1].name or "").removesuffix(".int4")  # type: ignore[union-attr]
    halves = np.stack([integers & 15, integers >> 4], axis=-1).reshape(*integers.shape[:2], -1)
    restored = ((halves.astype(np.float32) - 8) * scales[..., None]).reshape(len(integers), -1)
    weight = before[name]
    inputs = sampled.of(name if name in sampled else f"{name}.T")
    expected = inputs @ weight.T
    return float(np.linalg.norm(inputs @ restored[:, : weight.shape[1]].T - expected) / np.linalg.norm(expected))


def test_without_sampled_inputs_it_is_refused(nano: Checkpoint) -> None:
    with pytest.raises(OptionError, match=r"no inputs were sampled for this graph.*Choose 'nearest'"):
        quantize_blockwise(tied_model().graph, block_size=32, rounding="calibrated")
    model = tied_model()
    keep_sampled_inputs(model.graph, unsampled_inputs(export_decoder(nano), Path()))
    with pytest.raises(CompilerError, match=r"No inputs of 'mlp\.0\.weight\.T' were sampled.*keep"):
        quantize_blockwise(model.graph, block_size=32, rounding="calibrated")


def test_they_stay_with_copies_of_the_graph(nano: Checkpoint) -> None:
    model = export_decoder(nano)
    sampled = unsampled_inputs(model, Path())
    keep_sampled_inputs(model.graph, sampled)
    assert sampled_inputs_of(model.clone().graph) == sampled


def test_recipes_say_whether_they_want_them() -> None:
    wanted = {name: wanted_by(load_recipe(name).steps_for("decoder")) for name in ("exact", "int8", "small")}
    assert wanted == {"exact": False, "int8": False, "small": True}
    assert not wanted_by([PassStep("quantize_blockwise", {"rounding": "nearest"})])


def test_inputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="not finite"):
        SampledInputs(tmp_path, {"weight": 0}).add(0, np.array([[1, np.inf]], np.float32))
    SampledInputs(tmp_path, {"weight": 0}).add(0, np.array([[1, 1e30]], np.float32))
    assert SampledInputs(tmp_path, {"weight": 0}).of("weight").max() == np.float32(1e30)


def test_weights_whose_inputs_were_scaled_meanwhile_are_refused(nano: Checkpoint, sampled: SampledInputs) -> None:
    model = export_decoder(nano)
    keep_sampled_inputs(model.graph, sampled)
    assert balance_layer_norm(model.graph) > 0
    with pytest.raises(CompilerError, match=r"balance_layer_norm has scaled them.*choose rounding 'nearest'"):
        quantize_blockwise(model.graph, block_size=32, rounding="calibrated")
