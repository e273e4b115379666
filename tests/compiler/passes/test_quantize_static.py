"""Static int8: an encoder's products are replaced, activations are quantised once, and the numbers stay close."""

from pathlib import Path

import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import encoder_cases, recorded_windows
from stagewhisper.compiler.equivalence import Equivalence
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.pass_manager import PassStep, check_step, run_passes
from stagewhisper.compiler.passes.quantize_static import quantize_static
from stagewhisper.errors import OptionError
from tests.checkpoints import random_dims, save_openai
from tests.compiler import foreign_graphs
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import relative_error
from tests.compiler.passes.quantized import same_words, sample_tokens
from tests.sample import SAMPLE

PRODUCT = "com.microsoft::MatMulIntegerToFloat"
N_PRODUCTS = 6 * 2 + 2 * 2  # two encoder blocks, cross-attention's k and v for two decoder layers
N_ACTIVATIONS = 4 * 2 + 1  # q, k and v read one; attention's output, both of the MLP; cross-attention's read one


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("checkpoint") / "random.pt", dims, seed=4))


def test_products_become_int8_and_share_their_activations(checkpoint: Checkpoint) -> None:
    graph = export_encoder(checkpoint).graph
    assert quantize_static(graph, recordings=[str(SAMPLE)]) == N_PRODUCTS
    counts = op_counts(graph)
    assert counts[PRODUCT] == N_PRODUCTS
    assert counts["QuantizeLinear"] == N_ACTIVATIONS


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_the_numbers_stay_close(checkpoint: Checkpoint, method: str, tmp_path: Path) -> None:
    cases = encoder_cases(recorded_windows(checkpoint.dims))
    step = PassStep("quantize_static", {"method": method})
    report = run_passes(export_encoder(checkpoint), [step], equivalence=Equivalence(cases, tmp_path))
    difference = report.passes[0].difference
    assert difference is not None
    assert difference < 0.1  # of the largest number; some sixteen roundings of a 250th each, and what is clipped


def test_what_is_kept_back_stays_as_it_is(checkpoint: Checkpoint) -> None:
    graph = export_encoder(checkpoint).graph
    kept = quantize_static(graph, keep=["*.mlp.2.*", "decoder.*"], recordings=[str(SAMPLE)])
    assert kept == 5 * 2
    assert op_counts(graph)["MatMul"] == N_PRODUCTS + 2 * 2 - 5 * 2  # attention's two products a block stay, too


def test_it_declines_decoders_and_graphs_with_nothing_to_do(checkpoint: Checkpoint) -> None:
    decoder = export_decoder(checkpoint).graph
    before = op_counts(decoder)
    assert quantize_static(decoder) == 0
    assert op_counts(decoder) == before
    assert quantize_static(export_encoder(checkpoint).graph, only=["nothing.is.called.so"]) == 0


def test_a_second_run_changes_nothing(checkpoint: Checkpoint) -> None:
    graph = export_encoder(checkpoint).graph
    quantize_static(graph, recordings=[str(SAMPLE)])
    before = op_counts(graph)
    assert quantize_static(graph, recordings=[str(SAMPLE)]) == 0
    assert op_counts(graph) == before


def test_senseless_choices_are_refused(checkpoint: Checkpoint) -> None:
    graph: ir.Graph = export_encoder(checkpoint).graph
    with pytest.raises(OptionError, match=r"method is 'best'; expected one of 'minmax', 'percentile', 'entropy'"):
        check_step(PassStep("quantize_static", {"method": "best"}))
    with pytest.raises(OptionError, match=r"percentile is 0\.99\. Give the share of values to keep: above 50"):
        quantize_static(graph, percentile=0.99)


def test_a_foreign_encoder_is_quantised() -> None:
    foreign = foreign_graphs.foreign_graph("transformers-torchscript/encoder")
    model, inputs = foreign.model(), foreign.inputs()
    before = foreign_graphs.run(model, inputs)
    assert quantize_static(model.graph, recordings=[str(SAMPLE)], method="minmax") == 6 * foreign.dims.n_audio_layer
    after = foreign_graphs.run(model, inputs)
    for output, array in before.items():
        assert relative_error(after[output], array) < 0.15  # noise as input reaches further than the recording


def test_nano_hears_the_same_words(tmp_path: Path) -> None:
    expected, _ = sample_tokens(tmp_path / "fp32")
    found, counts = sample_tokens(tmp_path / "int8", quantize_static)
    assert same_words(found, expected)
    assert len(expected) > 3
    assert counts[0] == 6 * 4 + 2 * 2
