"""The encoder's graph is cut at the audio features; weights stay in their file."""

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler import compiled, load_recipe
from stagewhisper.engines.onnxruntime_cut import cut_from_features, cut_up_to_features
from stagewhisper.errors import BundleError
from tests.checkpoints import random_dims, save_openai


@pytest.fixture(scope="module", params=["exact", "int8"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("cut")
    dims = random_dims(n_audio_ctx=60, n_text_layer=2)
    checkpoint = load_checkpoint(save_openai(folder / "random.pt", dims, seed=1))
    return compiled(checkpoint, recipe=load_recipe(request.param), cache_dir=folder)


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]


def test_the_sides_meet_at_the_audio_features_and_give_what_the_whole_gave(bundle: Bundle) -> None:
    whole = onnx.load(bundle.encoder, load_external_data=False).graph
    first = onnx.load_from_string(cut_up_to_features(bundle.encoder)).graph
    second = onnx.load_from_string(cut_from_features(bundle.encoder)).graph
    assert (names(first.input), names(first.output)) == (["mel"], ["audio_features"])
    assert names(second.input) == ["audio_features"]
    assert names(second.output) == [name for name in names(whole.output) if name != "audio_features"]
    assert len(first.node) + len(second.node) == len(whole.node)


def test_no_weight_is_on_both_sides_or_in_the_graph_itself(bundle: Bundle) -> None:
    whole = onnx.load(bundle.encoder, load_external_data=False).graph
    large = {one.name for one in whole.initializer if one.data_location == onnx.TensorProto.EXTERNAL}
    found = []
    for content in (cut_up_to_features(bundle.encoder), cut_from_features(bundle.encoder)):
        kept = onnx.load_from_string(content).graph.initializer
        outside = {one.name for one in kept if one.data_location == onnx.TensorProto.EXTERNAL}
        assert outside == large & set(names(kept))
        found.append(outside)
    assert found[0] | found[1] == large
    assert all("decoder" not in name for name in found[0])
    assert found[1]


def saved(folder: Path, *, reads_mel: bool, output: str = "audio_features") -> Path:
    """A graph of two operators whose second one reads the features, or passes them by."""
    mel = ir.Value(name="mel", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 2]))
    features = ir.node("Neg", [mel])
    features.outputs[0].name = output
    cross = ir.node("Abs", [mel if reads_mel else features.outputs[0]])
    cross.outputs[0].name = "cross_k_0"
    for node in (features, cross):
        node.outputs[0].type, node.outputs[0].shape = mel.type, mel.shape
    graph = ir.Graph(
        [mel],
        [features.outputs[0], cross.outputs[0]],
        nodes=[features, cross],
        name="encoder",
        opset_imports={"": 20},
    )
    path = folder / "encoder.onnx"
    ir.save(ir.Model(graph, ir_version=10), path)
    return path


def test_a_graph_whose_projections_see_more_than_the_features_is_refused(tmp_path: Path) -> None:
    assert cut_from_features(saved(tmp_path, reads_mel=False))
    with pytest.raises(BundleError, match=r"cannot be cut at audio_features.*Let one engine and device run"):
        cut_from_features(saved(tmp_path, reads_mel=True))


def test_a_graph_without_audio_features_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, reads_mel=False, output="x")
    for cut in (cut_from_features, cut_up_to_features):
        with pytest.raises(BundleError, match=r"no output audio_features\. Compile the bundle again"):
            cut(path)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"Cannot read the graph .*encoder\.onnx"):
        cut_up_to_features(tmp_path / "encoder.onnx")
