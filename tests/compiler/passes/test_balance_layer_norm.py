"""Balanced channels: the numbers stay the same, and fewer bits lose less."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import decoder_cases, encoder_cases, recorded_windows
from stagewhisper.compiler.contract import FP32_TOLERANCE
from stagewhisper.compiler.equivalence import Case, Equivalence, GraphRunner
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import constant_of, nodes_of
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.balance_layer_norm import balance_layer_norm
from stagewhisper.compiler.passes.quantize_blockwise import quantize_blockwise
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.hub.known import embedded_path
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import SmallGraph, run


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    """Trained weights: random ones have balanced channels from the start."""
    return load_checkpoint(embedded_path())


@pytest.fixture(scope="module")
def cases(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    return decoder_cases(
        export_encoder(nano),
        export_decoder(nano),
        recorded_windows(nano.dims),
        prompt=(50258, 50259, 50359, 50363),
        folder=tmp_path_factory.mktemp("cases"),
    )


def test_every_layer_norm_before_products_is_balanced_and_the_numbers_stay_the_same(
    nano: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    decoder = export_decoder(nano)
    step = [PassStep("balance_layer_norm")]
    report = run_passes(decoder, step, equivalence=Equivalence(cases, tmp_path))
    assert report.passes[0].rewrites == 3 * nano.dims.n_text_layer + 1
    for norm in nodes_of(decoder.graph, "LayerNormalization"):
        scale, bias = constant_of(norm.inputs[1]), constant_of(norm.inputs[2])
        assert scale is not None
        assert bias is not None
        sizes = scale**2 + bias**2
        assert np.all(sizes < 1.001)
        assert np.median(sizes) > 0.999
    encoder = export_encoder(nano)
    report = run_passes(encoder, step, equivalence=Equivalence(encoder_cases(recorded_windows(nano.dims)), tmp_path))
    assert report.passes[0].rewrites == 2 * nano.dims.n_audio_layer, "the last one is an output"
    assert report.passes[0].difference is not None
    assert report.passes[0].difference < FP32_TOLERANCE


def test_four_bits_lose_less(nano: Checkpoint, cases: tuple[Case, ...], tmp_path: Path) -> None:
    errors = [logit_error(nano, cases, tmp_path, balanced=balanced) for balanced in (False, True)]
    assert errors[1] < 0.8 * errors[0]


def logit_error(nano: Checkpoint, cases: tuple[Case, ...], folder: Path, *, balanced: bool) -> float:
    """Root mean square, over all cases, of what the 4-bit vocabulary projection does to logits."""
    runners = []
    for bits in (None, 4):
        model = export_decoder(nano)
        if balanced:
            balance_layer_norm(model.graph)
        if bits:
            quantize_blockwise(model.graph, only=["vocabulary"], bits=bits, block_size=32, share_embedding=False)
        place = folder / f"{balanced}-{bits}"
        place.mkdir()
        runners.append(GraphRunner(Scratch(place).save(model)))
    before, after = (
        np.concatenate([runner.run(case.inputs)["logits"].reshape(-1, nano.dims.n_vocab) for case in cases])
        for runner in runners
    )
    error = after - before
    return float(np.sqrt(np.mean((error - error.mean(axis=1, keepdims=True)) ** 2)))  # softmax ignores what all share


def small(*, tied: bool = False, extra_use: bool = False, both_products: bool = True) -> ir.Model:
    """tokens → embedding → layer norm → products with one weight or two."""
    random = np.random.default_rng(0)
    build = SmallGraph({"tokens": (ir.DataType.INT64, ["n"])})
    embedding = build.constant("embedding", random.standard_normal((200, 8)).astype(np.float32))
    x = build.op("Gather", embedding, build.inputs["tokens"], axis=0)
    scale = build.constant("scale", random.uniform(0.1, 5, 8).astype(np.float32))
    bias = build.constant("bias", random.standard_normal(8).astype(np.float32))
    normed = build.op("LayerNormalization", x, scale, bias, axis=-1)
    weight = build.constant("weight", random.standard_normal((8, 200)).astype(np.float32))
    across = build.op("Transpose", embedding, perm=[1, 0]) if tied else weight
    outputs = {"y": build.op("MatMul", normed, across)}
    if both_products:
        outputs["z"] = build.op("FusedMatMul", normed, embedding, transB=1, domain="com.microsoft")
    if extra_use:
        outputs["w"] = build.op("Add", normed, normed)
    return build.model(**outputs)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("both_products", [True, False])
def test_a_tied_embedding_is_stored_once_and_read_as_before(tied: bool, both_products: bool) -> None:
    model, tokens = small(tied=tied, both_products=both_products), {"tokens": np.array([0, 17, 199])}
    before = run(model, tokens)
    assert balance_layer_norm(model.graph) == 1
    after = run(model, tokens)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, atol=1e-4)  # sums of eight products up to about 30
    assert op_counts(model.graph).get("Mul", 0) == (1 if tied or both_products else 0)
    assert sum(value.shape == (200, 8) for value in model.graph.initializers.values()) == 1


def test_it_declines_where_the_norm_is_used_by_something_else() -> None:
    model = small(extra_use=True)
    before = op_counts(model.graph)
    assert balance_layer_norm(model.graph) == 0
    assert op_counts(model.graph) == before


def test_it_declines_a_weight_that_others_read_too() -> None:
    model = small()
    weight = model.graph.initializers["weight"]
    other = ir.node("MatMul", [model.graph[0].outputs[0], weight])
    model.graph.append(other)
    other.outputs[0].name, other.outputs[0].type = "other", ir.TensorType(ir.DataType.FLOAT)
    model.graph.outputs.append(other.outputs[0])
    assert balance_layer_norm(model.graph) == 0


def test_a_second_run_changes_nothing(nano: Checkpoint) -> None:
    for model in (small(), small(tied=True), export_encoder(nano)):
        assert balance_layer_norm(model.graph) > 0
        before = op_counts(model.graph)
        assert balance_layer_norm(model.graph) == 0
        assert op_counts(model.graph) == before
