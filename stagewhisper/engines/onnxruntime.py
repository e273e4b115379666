"""A compiled bundle on ONNX Runtime; keys and values stay in its buffers from step to step.

The cache of the plain graph grows by one position a step: each step's output is bound as the next one's input, so
nothing is copied on our side.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stagewhisper.arrays import MelBatch, Tokens
from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.errors import BundleError

# Unless told so before it is imported, ONNX Runtime writes a device id into the user's cache and sends events about
# every session to its makers. Nobody asked for that, and offline means offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

Buffers = dict[str, ort.OrtValue]
"""Tensors inside ONNX Runtime, by the name of the graph input that they are bound to."""


@dataclass(frozen=True)
class Features:
    """Cross-attention keys and values of some windows."""

    cross: Buffers
    n_audio: int


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, and those of the audio."""

    past: Buffers
    cross: Buffers


class OnnxRuntimeEngine:
    """Runs a bundle on the CPU."""

    reads: ClassVar[Source] = "bundle"

    def __init__(self, bundle: Bundle, *, device: str | None = None, threads: int | None = None) -> None:
        """`threads` is the number of cores one call may use; None takes all physical ones.

        Raises:
            EngineError: the device is not the CPU, or the number of threads is negative.
            BundleError: ONNX Runtime refuses the graphs.
        """
        self._dims = bundle.dims
        options = ort.SessionOptions()
        options.intra_op_num_threads = cpu_threads("onnxruntime", device=device, threads=threads)
        options.log_severity_level = 3  # errors only: its warnings are not for our users
        try:
            self._encoder = ort.InferenceSession(bundle.encoder, options, providers=["CPUExecutionProvider"])
            self._decoder = ort.InferenceSession(bundle.decoder, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {bundle.path}: {error}. Compile it again.") from error
        self._cross_names = [name for name in _output_names(self._encoder) if name.startswith("cross_")]
        self._present_names = [name for name in _output_names(self._decoder) if name.startswith("present_")]

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._dims

    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention keys and values of whole windows."""
        outputs = _run(self._encoder, {"mel": _buffer(mel)}, self._cross_names)
        return Features(outputs, n_audio=len(mel))

    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        n_head = self._dims.n_text_head
        empty = np.zeros((features.n_audio, n_head, 0, self._dims.n_text_state // n_head), np.float32)
        return Cache({_past_name(name): _buffer(empty) for name in self._present_names}, features.cross)

    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[Cache]:
        """Logits after `tokens`, which follow what is in the cache."""
        positions = np.asarray(logit_positions, np.int64)
        inputs = {
            "tokens": _buffer(tokens),
            "logit_positions": _buffer(positions),
            **cache.past,
            **cache.cross,
        }
        outputs = _run(self._decoder, inputs, ["logits", *self._present_names])
        past = {_past_name(name): outputs[name] for name in self._present_names}
        return DecoderOutput(outputs["logits"].numpy(), replace(cache, past=past))

    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        rows = list(source_indices)
        n_seq = next(iter(cache.past.values())).shape()[0]
        if rows == list(range(n_seq)):
            return cache
        return replace(cache, past={name: _buffer(value.numpy()[rows]) for name, value in cache.past.items()})


def _run(session: ort.InferenceSession, inputs: Buffers, output_names: Sequence[str]) -> Buffers:
    """The named outputs, in buffers that ONNX Runtime allocates; a binding of its own makes this safe in threads."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name in output_names:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(output_names, binding.get_outputs(), strict=True))


def _buffer(array: np.ndarray) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _output_names(session: ort.InferenceSession) -> list[str]:
    return [output.name for output in session.get_outputs()]


def _past_name(present_name: str) -> str:
    return present_name.replace("present_", "past_", 1)
