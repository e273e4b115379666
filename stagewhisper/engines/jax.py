"""A checkpoint on JAX: the same code on processors, GPUs and TPUs, on one device or on many.

What is compiled and when: `jax_programs.py`. The arithmetic: `jax_model.py`. Decoding on the device:
`jax_generation.py`. Several devices: `jax_placement.py`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from stagewhisper.arrays import AudioFeatures, MelBatch, PositionLogits, Tokens
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.engines.generation import Generation, GenerationRules
from stagewhisper.engines.jax_generation import CHUNK, N_DRAWS, Opening, State, as_arrays
from stagewhisper.engines.jax_model import CACHE_AXES, Arithmetic, KeysAndValues, cache_shape
from stagewhisper.engines.jax_placement import check_divisible, placement
from stagewhisper.engines.jax_programs import Programs, keep_compiled
from stagewhisper.engines.jax_weights import NamedWeights, load_weights
from stagewhisper.engines.parts import Part, check_part
from stagewhisper.errors import EngineError

logger = logging.getLogger(__name__)

_TYPES: Mapping[str, Any] = {"fp32": jnp.float32, "fp16": jnp.float16, "bf16": jnp.bfloat16}
_DEFAULT_PRECISION = {"gpu": "fp16", "tpu": "bf16"}


@dataclass(frozen=True)
class Features:
    """Cross-attention keys and values of some windows; more windows follow where devices share a batch evenly."""

    cross: KeysAndValues
    n_audio: int

    @property
    def n_padded(self) -> int:
        """Windows on the devices."""
        return len(self.cross[0][0])


class Buffers:
    """Keys and values of some sequences. The decoder writes them in place, so that only the newest arrays are alive."""

    def __init__(self, arrays: KeysAndValues) -> None:
        self.arrays = arrays


@dataclass(frozen=True)
class Cache:
    """Keys and values of the first `n_past` tokens; what the buffers hold behind them does not count."""

    buffers: Buffers
    n_past: int
    n_group: int
    features: Features


class JaxEngine:
    """Runs a checkpoint on JAX."""

    reads: ClassVar[Source] = "checkpoint"
    precisions: ClassVar[tuple[str, ...]] = tuple(_TYPES)
    keeps_programs: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True

    def __init__(
        self,
        checkpoint: NamedWeights,
        *,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        cache_dir: Path | None = None,
        part: Part = "whole",
    ) -> None:
        """`device` is as `placement` has it: "cpu", "gpu", "tpu", "gpu:1", or a mesh such as "tpu:4x2".

        Args:
            checkpoint: the weights.
            device: None is the first one of the kind that JAX prefers.
            threads: cannot be set from here, which a warning in the log tells.
            precision: "fp32", "fp16" or "bf16"; None is fp16 on GPUs, bf16 on TPUs, and fp32 on the processor.
            cache_dir: where compiled programs are kept for later processes; None keeps none, unless JAX was told where.
            part: "encoder" or "decoder" holds that side of the model alone.

        Raises:
            EngineError: there is no such device, the model cannot be shared among so many, no such precision, or the
                number of threads is negative.
        """
        if cpu_threads("jax", device="cpu", threads=threads):
            logger.warning(
                "The engine 'jax' cannot be held to %d threads: XLA takes all cores that the process may use when it "
                "starts. Start the process on fewer, as taskset does.",
                threads,
            )
        where = placement(device)
        check_divisible(checkpoint.dims, where.n_model)
        precision = precision or _DEFAULT_PRECISION.get(where.platform, "fp32")
        if precision not in _TYPES:
            raise EngineError(f"The engine 'jax' has no precision {precision!r}. Known: {', '.join(_TYPES)}.")
        if cache_dir is not None:
            keep_compiled(cache_dir)
        flash = where.platform == "gpu" and precision != "fp32" and _cudnn_attends(_TYPES[precision])
        self._how = Arithmetic(checkpoint.dims, jnp.dtype(_TYPES[precision]), where, flash=flash)
        self._part = part
        self._weights = load_weights(checkpoint, self._how.dtype, where, part=part)
        self._programs = Programs(self._how)

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._how.dims

    @property
    def n_compiled(self) -> Mapping[str, int]:
        """How often each program has been compiled: once for every batch size, and not for languages or prompts."""
        return dict(self._programs.n_compiled)

    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention keys and values of whole windows."""
        check_part("jax", self._part, needed="encoder")
        check_part("jax", self._part, needed="decoder")
        on_device = self._put(mel, "channels", "length")
        return Features(self._programs.encode(self._weights["encoder"], self._weights["cross"], on_device), len(mel))

    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for whole windows, brought to the host."""
        check_part("jax", self._part, needed="encoder")
        audio = self._programs.audio_features(self._weights["encoder"], self._put(mel, "channels", "length"))
        return np.asarray(audio)[: len(mel)]

    def project(self, audio: AudioFeatures) -> Features:
        """Cross-attention keys and values, from the encoder's output."""
        check_part("jax", self._part, needed="decoder")
        on_device = self._put(audio, "length", "embed")
        return Features(self._programs.project(self._weights["cross"], on_device), len(audio))

    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        return Cache(Buffers(self._empty(features.n_padded)), 0, 1, features)

    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[Cache]:
        """Logits after `tokens`, which follow what is in the cache."""
        n_seq, n_new = tokens.shape
        if cache.n_past + n_new > self.dims.n_text_ctx:
            raise EngineError(
                f"{n_new} tokens behind {cache.n_past} are more than the model's text context of "
                f"{self.dims.n_text_ctx}. Give fewer."
            )
        wanted = [range(n_new)[position] for position in logit_positions]
        width = 1 if n_new == 1 else CHUNK
        ids = np.zeros((cache.features.n_padded * cache.n_group, -(-n_new // width) * width), np.int32)
        ids[:n_seq, :n_new] = tokens
        found: dict[int, np.ndarray] = {}
        for first in range(0, n_new, width):
            here = sorted({place - first for place in wanted if first <= place < first + width})
            logits = self._run_decoder(ids[:, first : first + width], cache, cache.n_past + first, here)
            found |= {first + place: logits[:n_seq, i, : self.dims.n_vocab] for i, place in enumerate(here)}
        return DecoderOutput(
            np.stack([found[place] for place in wanted], axis=1), replace(cache, n_past=cache.n_past + n_new)
        )

    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        rows, features = list(source_indices), cache.features
        if rows == list(range(features.n_audio * cache.n_group)):
            return cache
        n_group = len(rows) // features.n_audio
        rows += [len(cache.buffers.arrays[0][0]) - 1] * ((features.n_padded - features.n_audio) * n_group)
        arrays = self._programs.reorder(cache.buffers.arrays, np.array(rows, np.int32))
        return Cache(Buffers(arrays), cache.n_past, n_group, features)

    def generate(self, features: Features, prompt: Tokens, rules: GenerationRules) -> Generation:
        """The tokens after `prompt`, chosen on the device; it comes back when all sequences have ended."""
        n_audio, n_prompt = prompt.shape
        ids = np.zeros((features.n_padded, -(-self.dims.n_text_ctx // CHUNK) * CHUNK), np.int32)
        ids[:n_audio, :n_prompt] = prompt
        arrays = as_arrays(rules, self._how.n_vocab)
        noise = self._noise(rules)
        weights = self._weights["decoder"]
        opening, state = self._programs.generate(
            weights, features.cross, ids, np.int32(n_prompt), np.int32(n_audio), arrays, noise
        )
        while noise is not None:
            noise = self._noise(rules)  # drawn while the device is at work
            step, ended = jax.device_get((state.step, state.ended))
            if step >= rules.n_steps or ended.all():
                break
            state = self._programs.go_on(weights, features.cross, state, arrays, noise)
        # Without draws the sequences of a window are all the same, and it is decoded once.
        rows = np.arange(n_audio * rules.n_group) // (1 if rules.temperature > 0 else rules.n_group)
        return _fetched(opening, state, n_audio=n_audio, rows=rows)

    def _put(self, windows: np.ndarray, *axes: str) -> jax.Array:
        """Windows on the devices, filled up with empty ones to a number that these can share."""
        n_more = -len(windows) % self._how.placement.n_data
        padded = np.pad(np.asarray(windows), ((0, n_more), (0, 0), (0, 0)))
        return self._how.placement.put(padded, "batch", *axes)

    def _empty(self, n_seq: int) -> KeysAndValues:
        """Buffers of their own for every layer: what is given up to a program must not be given up twice."""
        shape, sharding = cache_shape(self.dims, n_seq), self._how.placement.sharding(*CACHE_AXES)

        def zeros() -> jax.Array:
            return jnp.zeros(shape, self._how.dtype, device=sharding)

        return tuple((zeros(), zeros()) for _ in range(self.dims.n_text_layer))

    def _run_decoder(self, ids: np.ndarray, cache: Cache, n_past: int, places: Sequence[int]) -> PositionLogits:
        """Logits at `places` of these tokens; for as few lengths of `places` as can be, each being a program."""
        width = ids.shape[1]
        n_places = next(n for n in (1, 2, width) if n >= len(places))
        positions = np.zeros(n_places, np.int32)
        positions[: len(places)] = places
        logits, cache.buffers.arrays = self._programs.decode(
            self._weights["decoder"], cache.features.cross, cache.buffers.arrays, ids, np.int32(n_past), positions
        )
        return np.asarray(logits)

    def _noise(self, rules: GenerationRules) -> np.ndarray | None:
        """Noise of the next N_DRAWS steps, [N_DRAWS, n_group, n_pad]; None where nothing is drawn."""
        if rules.temperature == 0:
            return None
        if rules.noise is None:
            raise EngineError(f"The temperature is {rules.temperature}, but there is no noise. Give the rules `noise`.")
        noise = np.zeros((N_DRAWS, rules.n_group, self._how.n_vocab), np.float32)
        for step in range(N_DRAWS):
            noise[step, :, : self.dims.n_vocab] = rules.noise()
        return noise


def _fetched(opening: Opening, state: State, *, n_audio: int, rows: np.ndarray) -> Generation:
    """All results in one transfer: `rows` of the sequences, and the first `n_audio` windows."""
    known, tokens, totals, n_steps = jax.device_get((opening, state.tokens, state.sum_logprobs, state.step))
    return Generation(
        tokens=tokens[rows, :n_steps].astype(np.int64),
        sum_logprobs=totals[rows],
        no_speech_probs=known.no_speech_probs[:n_audio],
        is_finite=bool(known.is_finite),
    )


def _cudnn_attends(dtype: Any) -> bool:
    """Whether cuDNN's attention works here; where it does not, a warning says why, for it costs speed."""
    one = jnp.ones((1, 64, 1, 64), dtype)
    try:
        jax.block_until_ready(jax.nn.dot_product_attention(one, one, one, implementation="cudnn"))
    except Exception as error:  # noqa: BLE001  an old GPU, a missing library: JAX and cuDNN each have their own errors
        logger.warning("cuDNN's attention does not work here, XLA's is used instead: %s", error)
        return False
    return True
