"""What an encoder's activations look like on real audio: the material of static quantisation.

recordings ─► mel ─► graph, with the activations as outputs too ─► histograms ─► ranges
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.arrays import Samples
from stagewhisper.audio import SAMPLE_RATE, load_audio
from stagewhisper.compiler.activation_range import Histogram, Method, Range
from stagewhisper.compiler.equivalence import GraphRunner
from stagewhisper.compiler.graph_tools import static_dim
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.errors import CompilerError
from stagewhisper.mel import N_SAMPLES, log_mel

N_TOGETHER = 16
"""Activations that are looked at in one run: all of a large encoder's at once would take gigabytes."""


def mel_input(graph: ir.Graph) -> ir.Value | None:
    """The log-Mel input [.., n_mels, n_frames] of a graph that takes nothing else, or None."""
    if len(graph.inputs) != 1:
        return None
    (given,) = graph.inputs
    shape = given.shape
    if given.dtype != ir.DataType.FLOAT or shape is None or len(shape) != 3:
        return None
    return given if isinstance(shape[1], int) and isinstance(shape[2], int) else None


def activation_ranges(
    graph: ir.Graph,
    activations: Sequence[ir.Value],
    *,
    recordings: Sequence[str],
    method: Method,
    percentile: float,
) -> list[Range]:
    """The range of each activation of an encoder, over these recordings; without any, over the project's own.

    Raises:
        AudioError: a recording cannot be read.
        CompilerError: the graph is no encoder, or ONNX Runtime cannot run it.
    """
    given = mel_input(graph)
    if given is None or given.name is None:
        raise CompilerError(f"{graph.name} cannot be calibrated: it is no encoder, whose only input is a log-Mel.")
    n_mels, n_frames = (static_dim(given, axis) for axis in (1, 2))
    windows = [log_mel(part, n_mels=n_mels or 0)[:, :n_frames] for part in _windows(recordings)]
    histograms = [Histogram() for _ in activations]
    with tempfile.TemporaryDirectory(prefix="stagewhisper-calibration-") as folder:
        scratch = Scratch(Path(folder))
        for first in range(0, len(activations), N_TOGETHER):
            together = activations[first : first + N_TOGETHER]
            with as_outputs(graph, together):
                runner = GraphRunner(scratch.save(ir.Model(graph, ir_version=10)))
            for window in windows:
                inputs = {given.name: window[None]}
                seen = {**inputs, **runner.run(inputs)}
                for histogram, value in zip(histograms[first:], together, strict=False):
                    histogram.add(seen[value.name or ""])
    return [histogram.range(method, percentile=percentile) for histogram in histograms]


@contextmanager
def as_outputs(graph: ir.Graph, values: Sequence[ir.Value]) -> Iterator[None]:
    """The graph gives these values too, for as long as the block lasts."""
    new = [value for value in values if not value.is_graph_output() and not value.is_graph_input()]
    n_outputs = len(graph.outputs)
    for value in new:
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.extend(new)
    try:
        yield
    finally:
        while len(graph.outputs) > n_outputs:
            graph.outputs.pop()


def _windows(recordings: Sequence[str]) -> np.ndarray:
    """All recordings in windows, [n_windows, N_SAMPLES]."""
    samples = [load_audio(path) for path in recordings] if recordings else _own_recordings()
    return np.concatenate([_cut(recording) for recording in samples])


def _cut(samples: Samples) -> np.ndarray:
    """Windows of 30 seconds, the last one filled up with silence."""
    n_windows = max(1, -(-len(samples) // N_SAMPLES))
    return np.pad(samples, (0, n_windows * N_SAMPLES - len(samples))).reshape(n_windows, N_SAMPLES)


def _own_recordings() -> list[Samples]:
    """The project's one recording as it is, dense, noisy and overdriven; and tones, noise and silence."""
    with (files("stagewhisper") / "assets" / "seven.wav").open("rb") as file:
        spoken = load_audio(file)
    random = np.random.default_rng(0)
    noise = random.standard_normal(N_SAMPLES).astype(np.float32)
    dense = np.resize(np.concatenate([spoken, 0.3 * spoken, 0.05 * spoken]), N_SAMPLES)
    tones = np.sin(np.cumsum(np.linspace(100, 4000, N_SAMPLES)) * (2 * np.pi / SAMPLE_RATE))
    return [
        spoken,
        dense,
        np.clip(dense + 0.02 * noise, -1, 1),
        np.clip(8 * dense + 0.1 * noise, -1, 1),
        (0.3 * tones).astype(np.float32),
        0.1 * noise,
        np.zeros(N_SAMPLES, np.float32),
    ]
