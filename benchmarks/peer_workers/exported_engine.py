"""An engine of ours on three graphs in optimum's form: the first call, the later ones, and the encoder.

    encoder_model            input_features                      → last_hidden_state
    decoder_model            input_ids, encoder_hidden_states    → logits, present.{layer}.{decoder,encoder}.{key,value}
    decoder_with_past_model  input_ids, past_key_values.…        → logits, present.{layer}.decoder.{key,value}

So the graphs are all that differs from ours: keys and values stay in ONNX Runtime's tensors from call to call, those of
the audio are handed on as they are, and beams move rows only where they part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import DecoderOutput

Tensors = Mapping[str, ort.OrtValue]


@dataclass(frozen=True)
class ExportCache:
    """Keys and values by the names of decoder_with_past_model's inputs; none before the first call."""

    audio: ort.OrtValue
    own: Tensors
    cross: Tensors


class ExportEngine:
    """Graphs that optimum exported, or that another tool made of them."""

    def __init__(self, folder: Path, *, suffix: str, dims: ModelDims, threads: int) -> None:
        self.dims = dims
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._encoder, self._first, self._later = (
            ort.InferenceSession(folder / f"{name}{suffix}.onnx", options, providers=["CPUExecutionProvider"])
            for name in ("encoder_model", "decoder_model", "decoder_with_past_model")
        )

    def encode(self, mel: np.ndarray) -> ort.OrtValue:
        """Hidden states of whole windows; their keys and values are the first decoder call's work."""
        return _run(self._encoder, {"input_features": _tensor(mel)})["last_hidden_state"]

    def start(self, features: ort.OrtValue) -> ExportCache:
        return ExportCache(features, {}, {})

    def decode_step(
        self, tokens: np.ndarray, cache: ExportCache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[ExportCache]:
        ids = _tensor(tokens.astype(np.int64))
        if cache.own:
            outputs = _run(self._later, {"input_ids": ids, **cache.own, **cache.cross})
            cache = replace(cache, own=_past(outputs, ".decoder."))
        else:
            outputs = _run(self._first, {"input_ids": ids, "encoder_hidden_states": cache.audio})
            cache = replace(cache, own=_past(outputs, ".decoder."), cross=_past(outputs, ".encoder."))
        return DecoderOutput(outputs["logits"].numpy()[:, list(logit_positions)], cache)

    def reorder(self, cache: ExportCache, source_indices: Sequence[int]) -> ExportCache:
        rows, n_seq = list(source_indices), next(iter(cache.own.values())).shape()[0]
        if rows == list(range(n_seq)):
            return cache
        moved = replace(cache, own=_picked(cache.own, rows))
        if len(rows) == n_seq:
            return moved  # rows stay with their window, whose keys and values are the same for all its beams
        return replace(moved, cross=_picked(cache.cross, rows))


def _run(session: ort.InferenceSession, inputs: Tensors) -> dict[str, Any]:
    binding = session.io_binding()
    wanted = {one.name for one in session.get_inputs()}
    for name, value in inputs.items():
        if name in wanted:
            binding.bind_ortvalue_input(name, value)
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.get_outputs(), strict=True))


def _past(outputs: Tensors, side: str) -> Tensors:
    return {name.replace("present", "past_key_values", 1): value for name, value in outputs.items() if side in name}


def _picked(tensors: Tensors, rows: list[int]) -> Tensors:
    return {name: _tensor(value.numpy()[rows]) for name, value in tensors.items()}


def _tensor(array: np.ndarray) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
