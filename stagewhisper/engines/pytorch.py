"""A checkpoint on PyTorch: on the CPU, on CUDA or Apple devices, or on several of them that share a batch."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from stagewhisper.arrays import AudioFeatures, Logits, MelBatch, Tokens
from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines import pytorch_device
from stagewhisper.engines.base import DecoderOutput, Source
from stagewhisper.engines.cpu import cpu_threads
from stagewhisper.engines.generation import Generation, GenerationRules
from stagewhisper.engines.parts import Part, check_part
from stagewhisper.engines.pytorch_device import DeviceModel
from stagewhisper.engines.pytorch_devices import DTYPES, find_devices, find_dtype
from stagewhisper.engines.pytorch_weights import NamedWeights, checkpoint_weights

T = TypeVar("T")


@dataclass(frozen=True)
class Features:
    """What each device keeps of its windows; the first ones lie on the first device."""

    shares: tuple[pytorch_device.Features, ...]


@dataclass(frozen=True)
class Cache:
    """What each device keeps of its sequences."""

    shares: tuple[pytorch_device.Cache, ...]


class PyTorchEngine:
    """Runs a checkpoint on torch."""

    reads: ClassVar[Source] = "checkpoint"
    precisions: ClassVar[tuple[str, ...]] = tuple(DTYPES)
    has_parts: ClassVar[bool] = True

    def __init__(
        self,
        checkpoint: NamedWeights,
        *,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        is_compiled: bool = False,
        part: Part = "whole",
    ) -> None:
        """`device` may name several, separated by commas; "cuda:all" is every GPU. None is the CPU.

        `threads` is the number of cores that one call may use on the CPU; None leaves it to torch.
        `precision` None is "fp16" on CUDA devices and "fp32" elsewhere. `is_compiled` uses `torch.compile`.
        `part` "encoder" or "decoder" holds that side of the model alone.

        Raises:
            EngineError: there is no such device or precision, or the number of threads is negative.
        """
        n_threads = cpu_threads("pytorch", device=None, threads=threads)
        self._dims, self._part = checkpoint.dims, part
        self._models = [
            DeviceModel(
                checkpoint_weights(checkpoint, device=one, dtype=find_dtype(precision, one), part=part),
                is_compiled=is_compiled,
                threads=n_threads,
            )
            for one in find_devices(device)
        ]
        self._pool = ThreadPoolExecutor(len(self._models)) if len(self._models) > 1 else None

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self._dims

    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention keys and values of whole windows."""
        check_part("pytorch", self._part, needed="encoder")
        check_part("pytorch", self._part, needed="decoder")
        shares = self._shared(mel)
        return Features(self._each(lambda model, i: model.encode(shares[i]), n=len(shares)))

    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for whole windows."""
        check_part("pytorch", self._part, needed="encoder")
        shares = self._shared(mel)
        return np.concatenate(self._each(lambda model, i: model.audio_features(shares[i]), n=len(shares)))

    def project(self, audio: AudioFeatures) -> Features:
        """Cross-attention keys and values, from the encoder's output."""
        check_part("pytorch", self._part, needed="decoder")
        shares = self._shared(audio)
        return Features(self._each(lambda model, i: model.project(shares[i]), n=len(shares)))

    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        return Cache(self._each(lambda model, i: model.start(features.shares[i]), n=len(features.shares)))

    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int] = (-1,)
    ) -> DecoderOutput[Cache]:
        """Logits after `tokens`, which follow what is in the cache."""
        places = _places([share.n_seq for share in cache.shares])
        found = self._each(
            lambda model, i: model.decode_step(tokens[places[i]], cache.shares[i], logit_positions=logit_positions),
            n=len(places),
        )
        logits = found[0][0] if len(found) == 1 else np.concatenate([share for share, _ in found])
        return DecoderOutput(logits, Cache(tuple(share for _, share in found)))

    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`."""
        sources, targets = _places([share.n_seq for share in cache.shares]), _places(_n_new(cache, len(source_indices)))

        def moved(model: DeviceModel, i: int) -> pytorch_device.Cache:
            rows = [int(row) - sources[i].start for row in source_indices[targets[i]]]
            return model.reorder(cache.shares[i], rows)

        return Cache(self._each(moved, n=len(sources)))

    def generate(self, features: Features, prompt: Tokens, rules: GenerationRules) -> Generation:
        """The tokens after `prompt`, chosen where the windows lie, without coming back after each."""
        places = _places([share.n_audio for share in features.shares])
        noises = _for_each(rules.noise, n=len(places))
        return _joined(
            self._each(
                lambda model, i: model.generate(features.shares[i], prompt[places[i]], replace(rules, noise=noises[i])),
                n=len(places),
            ),
            eot=rules.eot,
        )

    def _shared(self, windows: np.ndarray) -> list[np.ndarray]:
        """An equal part of the windows for each device."""
        return np.array_split(windows, min(len(self._models), len(windows)))

    def _each(self, work: Callable[[DeviceModel, int], T], *, n: int) -> tuple[T, ...]:
        """What the first `n` devices give, working side by side."""
        if self._pool is None or n == 1:
            return tuple(work(model, i) for i, model in enumerate(self._models[:n]))
        return tuple(self._pool.map(work, self._models[:n], range(n)))


def _places(lengths: Sequence[int]) -> list[slice]:
    """Where runs of these lengths lie, one behind the other."""
    ends = list(itertools.accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _n_new(cache: Cache, n_seq: int) -> list[int]:
    """How many of `n_seq` sequences belong to each device: as many for each window."""
    n_audio = [share.memory.n_audio for share in cache.shares]
    return [n * n_seq // sum(n_audio) for n in n_audio]


def _for_each(noise: Callable[[], Logits] | None, *, n: int) -> Sequence[Callable[[], Logits] | None]:
    """The same noise in the same order for each of `n` readers, which may stand at different steps."""
    if noise is None or n == 1:
        return [noise] * n
    lock = threading.Lock()

    def draws() -> Iterator[Logits]:
        while True:
            yield noise()

    def reader(stream: Iterator[Logits]) -> Callable[[], Logits]:
        def read() -> Logits:
            with lock:
                return next(stream)

        return read

    return [reader(stream) for stream in itertools.tee(draws(), n)]


def _joined(shares: Sequence[Generation], *, eot: int) -> Generation:
    """One batch of what several devices have chosen; the shorter ones go on ending."""
    if len(shares) == 1:
        return shares[0]
    n_chosen = max(share.tokens.shape[1] for share in shares)
    return Generation(
        tokens=np.concatenate(
            [
                np.pad(share.tokens, ((0, 0), (0, n_chosen - share.tokens.shape[1])), constant_values=eot)
                for share in shares
            ]
        ),
        sum_logprobs=np.concatenate([share.sum_logprobs for share in shares]),
        no_speech_probs=np.concatenate([share.no_speech_probs for share in shares]),
        is_finite=all(share.is_finite for share in shares),
    )
