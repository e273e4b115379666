"""A compiled bundle on ONNX Runtime; keys and values stay in its buffers from step to step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stagewhisper.arrays import AudioFeatures, MelBatch, Tokens
from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.engines.onnxruntime_cut import AUDIO_FEATURES
from stagewhisper.engines.onnxruntime_encoder import EncoderGraphs
from stagewhisper.engines.onnxruntime_past import Buffers, Past, StaticPast, noted_aliases, past_form
from stagewhisper.engines.onnxruntime_session import buffer, open_session, run
from stagewhisper.engines.onnxruntime_step import StepCall
from stagewhisper.engines.parts import Part, check_part


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
    has_parts: ClassVar[bool] = True

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | None = None,
        threads: int | None = None,
        part: Part = "whole",
    ) -> None:
        """`threads` is the number of cores one call may use; None takes all physical ones.

        `part` "encoder" or "decoder" holds that side of the model alone.

        Raises:
            EngineError: the device is not the CPU, or the number of threads is negative.
            BundleError: ONNX Runtime refuses the graphs, or they cannot be cut into these parts.
        """
        self._dims, self._part = bundle.dims, part
        n_threads = cpu_threads("onnxruntime", device=device, threads=threads)
        self._encoder = EncoderGraphs(bundle, threads=n_threads)
        # Opened now, so that a damaged bundle is known of now.
        if part == "encoder":
            self._encoder.side("audio_features")
            return
        self._encoder.side("encode" if part == "whole" else "project")
        self._decoder = open_session(bundle.decoder, bundle=bundle.path, threads=n_threads)
        self._past_form = past_form(self._decoder)
        # Int8 keys and values of the audio are given back by the kernel as they are; bound to themselves, for nothing.
        self._given_back = {name: output for name, output in noted_aliases(self._decoder).items() if "cross" in name}
        self._takes_length = any(one.name == "n_past" for one in self._decoder.get_inputs())

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._dims

    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention keys and values of whole windows."""
        check_part("onnxruntime", self._part, needed="encoder")
        check_part("onnxruntime", self._part, needed="decoder")
        return Features(self._encoder.side("encode").run(mel), n_audio=len(mel))

    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for whole windows."""
        check_part("onnxruntime", self._part, needed="encoder")
        found = self._encoder.side("audio_features").run(mel)
        return np.array(found[AUDIO_FEATURES].numpy(), np.float32)  # a copy: ONNX Runtime's memory goes with `found`

    def project(self, audio: AudioFeatures) -> Features:
        """Cross-attention keys and values, from the encoder's output."""
        check_part("onnxruntime", self._part, needed="decoder")
        return Features(self._encoder.side("project").run(audio), n_audio=len(audio))

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
            "tokens": buffer(tokens),
            "logit_positions": buffer(np.asarray(logit_positions, np.int64)),
            **cache.past.inputs(),
            **cache.cross,
        }
        if self._takes_length:
            inputs["n_past"] = buffer(np.asarray(cache.past.n_past, np.int64))
        outputs = run(self._decoder, inputs, {"logits": None, **cache.past.outputs(), **self._kept_cross(cache)})
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
