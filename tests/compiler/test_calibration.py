"""Activations' ranges are those that ONNX Runtime sees when the graph runs on recordings."""

import wave
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.audio import load_audio
from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.activation_range import Range
from stagewhisper.compiler.calibration import activation_ranges
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import nodes_of
from stagewhisper.errors import AudioError, CompilerError
from stagewhisper.mel import N_SAMPLES, log_mel
from tests.checkpoints import random_dims, save_openai
from tests.sample import SAMPLE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32, n_audio_layer=1, n_text_layer=1)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("checkpoint") / "random.pt", dims, seed=4))


def ranges(graph: ir.Graph, values: list[ir.Value], *recordings: str) -> list[Range]:
    return activation_ranges(graph, values, recordings=recordings, method="minmax", percentile=100)


def test_the_inputs_range_is_that_of_the_recordings_mel(checkpoint: Checkpoint) -> None:
    graph = export_encoder(checkpoint).graph
    samples = load_audio(SAMPLE)
    mel = log_mel(np.pad(samples, (0, N_SAMPLES - len(samples))), n_mels=80)[:, :120]
    assert ranges(graph, [graph.inputs[0]], str(SAMPLE)) == [Range(float(mel.min()), float(mel.max()))]


def test_a_recording_counts_with_all_its_windows(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        tone = 20_000 * np.sin(np.arange(16_000))
        file.writeframes(np.concatenate([np.zeros(N_SAMPLES), tone]).astype("<i2").tobytes())
    graph = export_encoder(checkpoint).graph
    (covered,) = ranges(graph, [graph.inputs[0]], str(path))
    (silence,) = ranges(graph, [graph.inputs[0]], str(silent(tmp_path)))
    assert covered.high > silence.high
    assert silence.low == silence.high


def silent(folder: Path) -> Path:
    path = folder / "silent.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    return path


def test_activations_inside_the_graph_are_seen_and_the_graph_stays_as_it_was(checkpoint: Checkpoint) -> None:
    graph = export_encoder(checkpoint).graph
    names = [output.name for output in graph.outputs]
    gelus = [node.outputs[0] for node in nodes_of(graph, "Gelu")]
    for covered in ranges(graph, gelus):
        assert -0.18 < covered.low < -0.1, "the least value of GELU is -0.17"
        assert covered.high > 0.5
    assert [output.name for output in graph.outputs] == names


def test_more_activations_than_are_looked_at_in_one_run(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = export_encoder(checkpoint).graph
    values = [node.outputs[0] for node in nodes_of(graph, "Add")]
    at_once = ranges(graph, values, str(SAMPLE))
    monkeypatch.setattr("stagewhisper.compiler.calibration.N_TOGETHER", 3)
    assert ranges(graph, values, str(SAMPLE)) == at_once
    assert len(values) > 6


def test_a_decoder_cannot_be_calibrated(checkpoint: Checkpoint) -> None:
    with pytest.raises(CompilerError, match="is no encoder"):
        ranges(export_decoder(checkpoint).graph, [])


def test_a_recording_that_is_not_there_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"absent\.wav"):
        ranges(export_encoder(checkpoint).graph, [], str(tmp_path / "absent.wav"))
