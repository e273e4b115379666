"""A compiled bundle on ONNX Runtime; keys and values stay in its buffers from step to step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stagewhisper.arrays import MelBatch, Tokens
from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.engines.onnxruntime_past import Buffers, Past, StaticPast, noted_aliases, ort, past_form
from stagewhisper.engines.onnxruntime_step import StepCall
from stagewhisper.errors import BundleError


@dataclass(frozen=True)
class Features:
    """Cross-attention keys and values of some windows."""

    cross: Buffers
    n_audio: int


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, and those of the audio."""

    past: Past
    cross: Buffers
    step: StepCall | None = None
    """Made by the first call with one token, for as long as the buffers stay the same."""


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
        self._past_form = past_form(self._decoder)
        # Int8 keys and values of the audio are given back by the kernel as they are; bound to themselves, for nothing.
        self._given_back = {name: output for name, output in noted_aliases(self._decoder).items() if "cross" in name}
        self._takes_length = any(one.name == "n_past" for one in self._decoder.get_inputs())

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._dims

    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention keys and values of whole windows.

        The graph is given one window at a time: its intermediate results then stay in the cache, which is faster than
        a batch, and in int8 no window's rounding depends on the others.
        """
        if len(mel) == 1:
            return Features(_run(self._encoder, {"mel": _buffer(mel)}, dict.fromkeys(self._cross_names)), n_audio=1)
        joined: dict[str, np.ndarray] = {}
        for index in range(len(mel)):
            outputs = _run(self._encoder, {"mel": _buffer(mel[index : index + 1])}, dict.fromkeys(self._cross_names))
            for name, value in outputs.items():
                one = value.numpy()
                if name not in joined:
                    joined[name] = np.empty((len(mel), *one.shape[1:]), one.dtype)
                joined[name][index] = one[0]
        return Features({name: _buffer(array) for name, array in joined.items()}, n_audio=len(mel))

    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        return Cache(self._past_form.empty(features.n_audio), features.cross)

    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[Cache]:
        """Logits after `tokens`, which follow what is in the cache."""
        if self._past_form.is_static and cache.past.n_past > 0 and tokens.shape[1] > 1:
            return self._one_by_one(tokens, cache, logit_positions)
        if isinstance(cache.past, StaticPast) and tokens.shape[1] == 1 and tuple(logit_positions) == (-1,):
            return self._step(tokens, cache, cache.past)
        inputs = {
            "tokens": _buffer(tokens),
            "logit_positions": _buffer(np.asarray(logit_positions, np.int64)),
            **cache.past.inputs(),
            **cache.cross,
        }
        if self._takes_length:
            inputs["n_past"] = _buffer(np.asarray(cache.past.n_past, np.int64))
        outputs = _run(self._decoder, inputs, {"logits": None, **cache.past.outputs(), **self._kept_cross(cache)})
        past = cache.past.after(outputs, tokens.shape[1])
        return DecoderOutput(outputs["logits"].numpy(), replace(cache, past=past))

    def _step(self, tokens: Tokens, cache: Cache, past: StaticPast) -> DecoderOutput[Cache]:
        """One token for each sequence, the usual case: nothing is bound anew."""
        call = cache.step or StepCall(
            self._decoder,
            len(tokens),
            inputs={**past.inputs(), **cache.cross},
            outputs={**past.outputs(), **self._kept_cross(cache)},
        )
        logits = call.run(tokens, past.n_past)
        return DecoderOutput(logits, replace(cache, past=past.after({}, 1), step=call))

    def _kept_cross(self, cache: Cache) -> Buffers:
        """Keys and values of the audio, as outputs."""
        return {output: cache.cross[name] for name, output in self._given_back.items()}

    def _one_by_one(self, tokens: Tokens, cache: Cache, logit_positions: Sequence[int]) -> DecoderOutput[Cache]:
        """Several tokens behind others: GroupQueryAttention takes them for one sequence only, so they go singly."""
        logits = []
        for position in range(tokens.shape[1]):
            output = self.decode_step(tokens[:, position : position + 1], cache)
            logits.append(output.logits)
            cache = output.cache
        return DecoderOutput(np.concatenate(logits, axis=1)[:, list(logit_positions)], cache)

    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        past = cache.past.reordered(source_indices)
        is_same = isinstance(past, StaticPast) and past.inputs() is cache.past.inputs()
        return replace(cache, past=past, step=cache.step if is_same else None)


def _run(session: ort.InferenceSession, inputs: Buffers, outputs: Mapping[str, ort.OrtValue | None]) -> Buffers:
    """The named outputs, in the buffers given or new ones; a binding of its own makes this safe in threads."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, place in outputs.items():
        if place is None:
            binding.bind_output(name, "cpu")
        else:
            binding.bind_ortvalue_output(name, place)
    session.run_with_iobinding(binding)
    return dict(zip(outputs, binding.get_outputs(), strict=True))


def _buffer(array: np.ndarray) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))


def _output_names(session: ort.InferenceSession) -> list[str]:
    return [output.name for output in session.get_outputs()]
