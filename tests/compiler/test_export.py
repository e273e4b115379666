"""The graphs are legal ONNX, look as they are described, and compute what openai-whisper computes."""

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import whisper

from stagewhisper.checkpoint import Checkpoint, ModelDims, load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from tests.checkpoints import random_dims, save_openai
from tests.logits import CLOSE, load_oracle, random_mel, random_tokens, their_logits

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {},
    "large-v3": {"n_mels": 128, "n_vocab": 51_866},
    "turbo": {"n_mels": 128, "n_vocab": 51_866, "n_audio_layer": 4, "n_text_layer": 1},
    "English-only": {"n_vocab": 51_864},
    "more decoder than encoder": {"n_audio_layer": 1, "n_text_layer": 3, "n_text_head": 4},
}


def tiny_dims(**changes: int) -> ModelDims:
    return random_dims(**({"n_audio_ctx": 40, "n_audio_state": 32, "n_text_state": 32} | changes))


@pytest.fixture(scope="module", params=SHAPES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of each shape."""
    return save_openai(tmp_path_factory.mktemp("export") / "random.pt", tiny_dims(**SHAPES[request.param]), seed=2)


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Checkpoint:
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def oracle(path: Path) -> whisper.Whisper:
    return load_oracle(path)


@pytest.fixture(scope="module")
def graphs(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both graphs."""
    return saved_graphs(checkpoint, tmp_path_factory.mktemp("graphs"))


def saved_graphs(checkpoint: Checkpoint, folder: Path) -> Path:
    ir.save(export_encoder(checkpoint), folder / "encoder.onnx", external_data="encoder.weights")
    ir.save(export_decoder(checkpoint), folder / "decoder.onnx", external_data="decoder.weights")
    return folder


def signature(values: object) -> dict[str, list[int | str]]:
    """Names and shapes of a graph's inputs or outputs."""
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values  # type: ignore[attr-defined]
    }


def test_the_graphs_are_legal(graphs: Path) -> None:
    for name in ("encoder", "decoder"):
        onnx.checker.check_model(str(graphs / f"{name}.onnx"), full_check=True)


def test_the_encoder_has_the_documented_inputs_and_outputs(graphs: Path, checkpoint: Checkpoint) -> None:
    dims, graph = checkpoint.dims, onnx.load(graphs / "encoder.onnx", load_external_data=False).graph
    head_dim = dims.n_text_state // dims.n_text_head
    cross = {}
    for layer in range(dims.n_text_layer):
        cross[f"cross_k_{layer}"] = ["n_audio", dims.n_text_head, head_dim, dims.n_audio_ctx]
        cross[f"cross_v_{layer}"] = ["n_audio", dims.n_text_head, dims.n_audio_ctx, head_dim]
    features = {"audio_features": ["n_audio", dims.n_audio_ctx, dims.n_audio_state]}
    assert signature(graph.input) == {"mel": ["n_audio", dims.n_mels, 2 * dims.n_audio_ctx]}
    assert signature(graph.output) == features | cross


def test_the_decoder_has_the_documented_inputs_and_outputs(graphs: Path, checkpoint: Checkpoint) -> None:
    dims, graph = checkpoint.dims, onnx.load(graphs / "decoder.onnx", load_external_data=False).graph
    head_dim = dims.n_text_state // dims.n_text_head
    past, present, cross = {}, {}, {}
    for layer in range(dims.n_text_layer):
        for kind in "kv":
            past[f"past_self_{kind}_{layer}"] = ["n_seq", dims.n_text_head, "n_past", head_dim]
            present[f"present_self_{kind}_{layer}"] = ["n_seq", dims.n_text_head, "n_past + n_new", head_dim]
        cross[f"cross_k_{layer}"] = ["n_audio", dims.n_text_head, head_dim, dims.n_audio_ctx]
        cross[f"cross_v_{layer}"] = ["n_audio", dims.n_text_head, dims.n_audio_ctx, head_dim]
    tokens = {"tokens": ["n_seq", "n_new"], "logit_positions": ["n_positions"]}
    assert signature(graph.input) == tokens | past | cross
    assert signature(graph.output) == present | {"logits": ["n_seq", "n_positions", dims.n_vocab]}


def test_weights_lie_outside_the_graphs(graphs: Path, checkpoint: Checkpoint) -> None:
    for name in ("encoder", "decoder"):
        assert (graphs / f"{name}.onnx").stat().st_size < 100_000
        initializers = onnx.load(graphs / f"{name}.onnx", load_external_data=False).graph.initializer
        weights = [tensor for tensor in initializers if not tensor.name.startswith("const_")]
        assert weights
        places = {entry.value for tensor in weights for entry in tensor.external_data if entry.key == "location"}
        assert places == {f"{name}.weights"}
        assert all(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in weights if np.prod(tensor.dims) > 64)


def test_the_token_embedding_is_stored_once(graphs: Path, checkpoint: Checkpoint) -> None:
    n_bytes = 4 * checkpoint.dims.n_vocab * checkpoint.dims.n_text_state
    assert n_bytes < (graphs / "decoder.weights").stat().st_size < 2 * n_bytes


def test_logits_equal_openai_whisper_for_several_sequences_of_several_windows(
    graphs: Path, checkpoint: Checkpoint, oracle: whisper.Whisper
) -> None:
    dims = checkpoint.dims
    mel, tokens = random_mel(dims, 2), random_tokens(dims, 6, 12)
    encoder, decoder = (
        onnxruntime.InferenceSession(graphs / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    names = [output.name for output in encoder.get_outputs()]
    encoded = dict(zip(names, encoder.run(names, {"mel": mel}), strict=True))
    audio_features = encoded.pop("audio_features")
    np.testing.assert_allclose(audio_features, their_features(oracle, mel), atol=CLOSE)

    past_shape = (6, dims.n_text_head, 0, dims.n_text_state // dims.n_text_head)
    past_names = [f"past_self_{kind}_{layer}" for layer in range(dims.n_text_layer) for kind in "kv"]
    past = dict.fromkeys(past_names, np.zeros(past_shape, np.float32))
    found = []
    for first, last in ((0, 5), (5, 6), (6, 12)):
        positions = np.arange(last - first)
        inputs = {"tokens": tokens[:, first:last], "logit_positions": positions, **past, **encoded}
        present = [name.replace("past", "present") for name in past_names]
        logits, *caches = decoder.run(["logits", *present], inputs)
        past = dict(zip(past_names, caches, strict=True))
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, axis=1), their_logits(oracle, mel, tokens), atol=CLOSE)


def their_features(oracle: whisper.Whisper, mel: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        features: np.ndarray = oracle.encoder(torch.from_numpy(mel)).numpy()
    return features


def test_weights_are_read_only_when_the_graph_is_saved(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    weight = Checkpoint.weight

    def counted(self: Checkpoint, name: str) -> np.ndarray:
        read.append(name)
        return weight(self, name)

    monkeypatch.setattr(Checkpoint, "weight", counted)
    model = export_encoder(checkpoint)
    assert read == []
    ir.save(model, tmp_path / "encoder.onnx", external_data="encoder.weights")
    assert {name for name in checkpoint.weight_names if name.startswith("encoder.")} <= set(read)


def test_exporting_needs_a_fraction_of_the_models_memory(tmp_path: Path) -> None:
    dims = random_dims(
        n_audio_ctx=40, n_audio_state=256, n_text_state=256, n_vocab=500, n_audio_layer=6, n_text_layer=5
    )
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims))
    tracemalloc.start()
    try:
        saved_graphs(checkpoint, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_bytes = sum((tmp_path / f"{name}.weights").stat().st_size for name in ("encoder", "decoder"))
    assert n_bytes > 30e6
    assert peak < n_bytes / 4
