"""Real inputs for the two graphs, to compare and to time them with: audio, tokens, and the caches these lead to.

    recording ─► mel ─► encoder ─► cross_k, cross_v ─► decoder: prompt ─► a few tokens ─► caches

Two windows are made, so that a pass that mixes up the beams of several windows is caught.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.arrays import MelBatch, Samples
from stagewhisper.audio import SAMPLE_RATE, load_audio
from stagewhisper.checkpoint import ModelDims
from stagewhisper.compiler.contract import Arrays
from stagewhisper.compiler.equivalence import Case, GraphRunner
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.mel import N_SAMPLES, log_mel

N_BEAMS = 5
_N_STEPS = 6
"""Tokens that are decoded before the step that is compared; the prompt stands before them."""


def recorded_windows(dims: ModelDims) -> MelBatch:
    """Log-Mel of two windows: the project's own recording once, and three times with pauses."""
    with (files("stagewhisper") / "assets" / "seven.wav").open("rb") as file:
        spoken = load_audio(file)
    pause = np.zeros(SAMPLE_RATE // 3, np.float32)
    thrice = np.concatenate([pause, spoken, pause, 0.3 * spoken, pause, spoken])
    return np.stack([window_mel(samples, dims) for samples in (spoken, thrice)])


def window_mel(samples: Samples, dims: ModelDims) -> np.ndarray:
    """Log-Mel of one window, [n_mels, 2 n_audio_ctx]: what is missing is silence, what is left over is cut off."""
    padded = np.pad(samples[:N_SAMPLES], (0, max(0, N_SAMPLES - len(samples))))
    return log_mel(padded, n_mels=dims.n_mels)[:, : 2 * dims.n_audio_ctx]


def encoder_cases(mel: MelBatch) -> tuple[Case, ...]:
    """One call of the encoder on all the windows."""
    return (Case(f"{len(mel)} windows", {"mel": mel}),)


def decoder_cases(
    encoder: ir.Model, decoder: ir.Model, mel: MelBatch, *, prompt: Sequence[int], folder: Path, threads: int = 1
) -> tuple[Case, ...]:
    """Calls of the decoder: prompt and step, of one sequence, of 5 beams, and of all windows with 5 beams each.

    The graphs are those of `export.py`, before any pass. `folder` is emptied of nothing and may be removed afterwards.

    Raises:
        CompilerError: ONNX Runtime cannot run the graphs.
    """
    cross = cross_of(graph_runner(encoder, folder / "encoder", threads), mel)
    runner = graph_runner(decoder, folder / "decoder", threads)
    tokens = np.tile(np.asarray(prompt, np.int64), (len(mel) * N_BEAMS, 1))
    past = empty_past(decoder, len(tokens))
    first = _rows(cross, slice(0, 1))
    windows = {"": slice(0, 1), f", {N_BEAMS} beams": slice(0, N_BEAMS)}
    cases = [
        Case(f"prompt{name}", decoder_inputs(tokens[rows], _rows(past, rows), first, n_logits=len(prompt)))
        for name, rows in windows.items()
    ]
    next_tokens, past = _decoded(runner, tokens, past, cross)
    for name, rows in windows.items():
        cases.append(Case(f"step{name}", decoder_inputs(next_tokens[rows], _rows(past, rows), first)))
    cases.append(Case(f"step, {len(mel)} windows of {N_BEAMS} beams", decoder_inputs(next_tokens, past, cross)))
    return tuple(cases)


def cross_of(runner: GraphRunner, mel: MelBatch) -> Arrays:
    """The encoder's `cross_*` of all windows, one after the other: attention's scores take the most memory of all."""
    encoded = [runner.run({"mel": mel[index : index + 1]}) for index in range(len(mel))]
    return {
        name: np.concatenate([outputs[name] for outputs in encoded]) for name in encoded[0] if name.startswith("cross_")
    }


def _decoded(runner: GraphRunner, tokens: np.ndarray, past: Arrays, cross: Arrays) -> tuple[np.ndarray, Arrays]:
    """The next token of every sequence, [n_seq, 1], and the caches, after some steps of which each beam took others."""
    n_text = int(tokens[0, 0]) - 1  # <|startoftranscript|> follows <|endoftext|>, which follows the text
    for step in range(1 + _N_STEPS):
        outputs = runner.run(decoder_inputs(tokens, past, cross))
        past = present_as_past(outputs)
        ranked = np.argsort(-outputs["logits"][:, -1, :n_text], axis=-1)
        beams = np.arange(len(tokens)) % N_BEAMS if step == 0 else np.zeros(len(tokens), int)
        tokens = np.take_along_axis(ranked, beams[:, None], axis=-1).astype(np.int64)
    return tokens, past


def decoder_inputs(tokens: np.ndarray, past: Arrays, cross: Arrays, *, n_logits: int = 1) -> Arrays:
    """For a call of a decoder without passes: `tokens` [n_seq, n_new] behind `past`; logits of the last `n_logits`."""
    return {"tokens": tokens, "logit_positions": np.arange(-n_logits, 0), **past, **cross}


def present_as_past(outputs: Arrays) -> Arrays:
    """The caches that a call has given, as the next one takes them."""
    return {name.replace("present_", "past_", 1): outputs[name] for name in outputs if name.startswith("present_")}


def _rows(arrays: Arrays, rows: slice) -> Arrays:
    return {name: array[rows] for name, array in arrays.items()}


def empty_past(decoder: ir.Model, n_seq: int) -> Arrays:
    """Caches of no positions: every input `past_*` has the shape [n_seq, n_head, n_past, head_dim]."""
    shapes = {value.name: value.shape for value in decoder.graph.inputs if (value.name or "").startswith("past_")}
    return {
        name: np.zeros((n_seq, int(str(shape[1])), 0, int(str(shape[3]))), np.float32)
        for name, shape in shapes.items()
        if name is not None and shape is not None
    }


def graph_runner(model: ir.Model, folder: Path, threads: int) -> GraphRunner:
    """The graph as it stands, loaded from `folder` with its weights as they lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    return GraphRunner(Scratch(folder).save(model), aliases=aliases_of(model.graph), threads=threads, packed=False)
