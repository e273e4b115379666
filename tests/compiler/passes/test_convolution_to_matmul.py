"""Convolutions as products: the same numbers, no Transpose behind them, and weights that can be quantised."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.export import export_encoder
from stagewhisper.compiler.graph_tools import nodes_of
from stagewhisper.compiler.passes.convolution_to_matmul import convolution_to_matmul
from stagewhisper.compiler.passes.fuse_attention import fuse_attention
from stagewhisper.compiler.passes.fuse_gelu import fuse_gelu
from stagewhisper.compiler.passes.quantize_dynamic import quantize_dynamic
from tests.checkpoints import random_dims, save_openai
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph, op_counts, run
from tests.compiler.graphs import SmallGraph, relative_error
from tests.compiler.passes.rewriting import CLOSE, rewritten

N_MELS, N_FRAMES, N_STATE = 5, 24, 8


def convolutions(
    *,
    strides: tuple[int, ...] = (1, 2),
    n_frames: int | str = N_FRAMES,
    read_elsewhere: bool = False,
    has_bias: bool = True,
    perm: tuple[int, ...] = (0, 2, 1),
    **attributes: object,
) -> ir.Model:
    """mel ─► Conv ─► Gelu, for each stride ─► Transpose."""
    rng = np.random.default_rng(0)
    build = SmallGraph({"mel": (ir.DataType.FLOAT, ["n_audio", N_MELS, n_frames])})
    x, n_in = build.inputs["mel"], N_MELS
    for number, stride in enumerate(strides):
        weight = build.constant(f"conv{number}.weight", rng.standard_normal((N_STATE, n_in, 3)).astype(np.float32))
        bias = [build.constant(f"conv{number}.bias", rng.standard_normal(N_STATE).astype(np.float32))]
        given = {"kernel_shape": [3], "pads": [1, 1], "strides": [stride], **attributes}
        conv = build.op("Conv", x, weight, *(bias if has_bias else []), **given)
        x, n_in = build.op("Gelu", conv), N_STATE
    outputs = {"y": build.op("Transpose", x, perm=list(perm))}
    if read_elsewhere:
        outputs["before"] = conv
    return build.model(**outputs)


def mel(n_audio: int = 2, n_frames: int = N_FRAMES) -> dict[str, np.ndarray]:
    return {"mel": np.random.default_rng(1).standard_normal((n_audio, N_MELS, n_frames)).astype(np.float32)}


@pytest.mark.parametrize("strides", [(1,), (2,), (1, 2), (2, 1), (1, 2, 2)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_numbers_are_those_of_the_convolutions(strides: tuple[int, ...], has_bias: bool) -> None:
    def build() -> ir.Model:
        return convolutions(strides=strides, has_bias=has_bias)

    count, ops = rewritten(convolution_to_matmul, build, mel(), close=CLOSE)
    assert count == len(strides)
    assert "Conv" not in ops
    assert ops["MatMul"] == len(strides)
    assert ops["Transpose"] == 1  # of the mel, the smallest of all


@pytest.mark.parametrize(
    "model",
    [
        convolutions(n_frames="n_frames"),
        convolutions(n_frames=23),
        convolutions(read_elsewhere=True),
        convolutions(perm=(2, 0, 1)),
        convolutions(pads=[2, 0]),
        convolutions(pads=[2, 2], dilations=[2]),
        convolutions(strides=(1, 3)),
    ],
    ids=["any length", "odd length", "read elsewhere", "another turn", "other padding", "dilated", "stride 3"],
)
def test_other_convolutions_stay(model: ir.Model) -> None:
    before = op_counts(model.graph)
    assert convolution_to_matmul(model.graph) == 0
    assert op_counts(model.graph) == before


@pytest.mark.parametrize("name", [name for name in EXPORTS if "torchscript/encoder" in name])
def test_foreign_encoders_are_rewritten_too(name: str) -> None:
    foreign = foreign_graph(name)
    model, inputs = foreign.model(), foreign.inputs()
    before = run(model, inputs)
    fuse_gelu(model.graph)
    assert convolution_to_matmul(model.graph) == 2
    after = run(model, inputs)
    for output, array in before.items():
        np.testing.assert_allclose(after[output], array, atol=CLOSE * float(np.abs(array).max()))


def test_the_products_can_be_quantised_and_the_attention_is_still_found(tmp_path: Path) -> None:
    dims = random_dims(n_audio_ctx=200, n_audio_state=32, n_text_state=32)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims))
    model = export_encoder(checkpoint)
    inputs = {"mel": np.random.default_rng(2).standard_normal((1, dims.n_mels, 400)).astype(np.float32)}
    before = run(model, inputs)["audio_features"]
    assert convolution_to_matmul(model.graph) == 2
    assert fuse_attention(model.graph) == dims.n_audio_layer
    quantize_dynamic(model.graph, only=["encoder.conv*"])
    assert len(list(nodes_of(model.graph, "DynamicQuantizeMatMul", domain="com.microsoft"))) == 2
    assert relative_error(run(model, inputs)["audio_features"], before) < 0.05
