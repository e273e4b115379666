"""Attention in integers: close to MultiHeadAttention, window by window, and nowhere but where it fits."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.cases import encoder_cases, recorded_windows
from stagewhisper.compiler.equivalence import Equivalence
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import MICROSOFT
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.fuse_attention import fuse_attention
from stagewhisper.compiler.passes.quantize_attention import quantize_attention
from stagewhisper.compiler.verify import verify
from stagewhisper.errors import OptionError
from tests.checkpoints import random_dims, save_openai
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import SmallGraph, run

N_HEAD, HEAD_DIM, N_FRAMES = 3, 16, 120
N_STATE = N_HEAD * HEAD_DIM
FLOAT = ir.DataType.FLOAT


def attention(*, n_frames: int | str = N_FRAMES, masked: bool = False, **attributes: float) -> ir.Model:
    """q, k and v through one MultiHeadAttention."""
    inputs = {name: (FLOAT, ["n_audio", n_frames, N_STATE]) for name in "qkv"}
    mask = {"mask": (FLOAT, [1, 1, N_FRAMES, N_FRAMES])} if masked else {}
    graph = SmallGraph(inputs | mask)
    operands = [graph.inputs[name] for name in "qkv"]
    more = [None, None, graph.inputs["mask"]] if masked else []
    y = graph.op("MultiHeadAttention", *operands, *more, domain=MICROSOFT, num_heads=N_HEAD, **attributes)
    y.shape = ir.Shape(["n_audio", n_frames, N_STATE])
    return graph.model(y=y)


def queries_keys_values(*, n_audio: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Every channel of keys and values has a size and a middle of its own, as trained ones have."""
    rng = np.random.default_rng(seed)
    arrays = {name: rng.standard_normal((n_audio, N_FRAMES, N_STATE)).astype(np.float32) for name in "qkv"}
    for name in "kv":
        arrays[name] *= np.exp(rng.uniform(-3, 1, N_STATE)).astype(np.float32)
    return arrays


def quantized(model: ir.Model, **parameters: int) -> ir.Model:
    assert quantize_attention(model.graph, **parameters) == 1
    verify(model)
    assert quantize_attention(model.graph) == 0
    return model


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@pytest.mark.parametrize(("n_rows", "n_blocks"), [(7, 18), (40, 3), (1000, 1)])
@pytest.mark.parametrize("n_audio", [1, 2])
def test_the_numbers_are_those_of_the_attention(n_rows: int, n_blocks: int, n_audio: int) -> None:
    inputs = queries_keys_values(n_audio=n_audio)
    expected = run(attention(), inputs)["y"]
    model = quantized(attention(), n_rows=n_rows)
    found = run(model, inputs)["y"]
    assert relative(found, expected) < 0.03
    (body,) = model.graph.subgraphs()
    assert sum(node.op_type == "Exp" for node in body) == n_blocks


def test_windows_and_heads_do_not_influence_each_other() -> None:
    loud, quiet = queries_keys_values(seed=1), queries_keys_values(seed=2)
    loud = {name: 50 * array for name, array in loud.items()}
    both = {name: np.concatenate([loud[name], quiet[name]]) for name in "qkv"}
    model = quantized(attention())
    np.testing.assert_array_equal(run(model, both)["y"][1:], run(model, quiet)["y"])


def test_it_hears_better_than_it_would_without_means() -> None:
    """Keys and values with a common part that is a hundred times as large as what differs."""
    inputs = queries_keys_values()
    expected = run(attention(), inputs)["y"]
    shifted = {"q": inputs["q"], "k": inputs["k"] + 10, "v": inputs["v"] + 100}
    found = run(quantized(attention()), shifted)["y"] - 100
    assert relative(found, expected) < 0.03


def test_scores_too_large_for_exp_do_not_overflow() -> None:
    """Scores of up to 121 are right; those of some hundreds give numbers."""
    inputs = queries_keys_values()
    inputs["q"] *= 20
    expected, found = run(attention(), inputs)["y"], run(quantized(attention()), inputs)["y"]
    assert relative(found, expected) < 0.15  # where two frames are nearly as loud, rounding decides
    inputs["q"] *= 10
    assert np.isfinite(run(quantized(attention()), inputs)["y"]).all()


def test_no_rows_at_a_time_is_an_error_which_names_the_parameter() -> None:
    with pytest.raises(OptionError, match="n_rows is 0"):
        quantize_attention(attention().graph, n_rows=0)


def test_the_form_of_a_row_does_not_matter() -> None:
    """Rows that look at one frame and rows that look at all alike: each is rounded by its own largest weight."""
    inputs = queries_keys_values()
    inputs["q"][:, : N_FRAMES // 2] *= 30
    inputs["q"][:, N_FRAMES // 2 :] = 0
    expected, found = run(attention(), inputs)["y"], run(quantized(attention()), inputs)["y"]
    flat = slice(N_FRAMES // 2, None)
    assert relative(found[:, flat], expected[:, flat]) < 0.03
    np.testing.assert_allclose(
        expected[:, flat], np.broadcast_to(inputs["v"].mean(1, keepdims=True), expected[:, flat].shape), atol=1e-5
    )


def test_another_scale_of_the_scores_is_kept() -> None:
    inputs = queries_keys_values()
    expected = run(attention(scale=0.5), inputs)["y"]
    assert relative(run(attention(), inputs)["y"], expected) > 0.2
    assert relative(run(quantized(attention(scale=0.5)), inputs)["y"], expected) < 0.05


def test_silence_gives_zeros_and_no_nan() -> None:
    inputs = {name: np.zeros((1, N_FRAMES, N_STATE), np.float32) for name in "qkv"}
    np.testing.assert_array_equal(run(quantized(attention()), inputs)["y"], 0)


@pytest.mark.parametrize(
    "model",
    [attention(n_frames="n_frames"), attention(n_frames=20), attention(masked=True), attention(unidirectional=1)],
    ids=["any length", "few frames", "mask", "causal"],
)
def test_what_it_cannot_do_stays(model: ir.Model) -> None:
    assert quantize_attention(model.graph) == 0
    assert op_counts(model.graph) == {"com.microsoft::MultiHeadAttention": 1}


def test_the_encoder_is_changed_and_the_decoder_is_not(tmp_path: Path) -> None:
    dims = random_dims(n_audio_ctx=200, n_audio_state=32, n_text_state=32)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims))
    encoder = export_encoder(checkpoint)
    equivalence = Equivalence(encoder_cases(recorded_windows(dims)), tmp_path)
    report = run_passes(encoder, [PassStep("fuse_attention"), PassStep("quantize_attention")], equivalence=equivalence)
    assert [item.rewrites for item in report.passes] == [dims.n_audio_layer] * 2
    assert report.difference is not None
    assert 1e-4 < report.difference < 0.05
    decoder = export_decoder(checkpoint)
    fuse_attention(decoder.graph)
    assert quantize_attention(decoder.graph) == 0
