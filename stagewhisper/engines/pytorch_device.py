"""A model on one device: the protocol's calls with torch's tensors inside, and whole windows decoded there.

    CPU, MPS    each step works on the positions that are filled          (ExactSpan)
    CUDA        each step is a graph that was recorded once and replayed  (Steps)

The prompt is computed in the first way everywhere, since its length differs from window to window.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stagewhisper.arrays import AudioFeatures, MelBatch, PositionLogits, Tokens
from stagewhisper.engines import pytorch_model
from stagewhisper.engines.generation import Generation, GenerationRules
from stagewhisper.engines.pytorch_choice import Choice
from stagewhisper.engines.pytorch_memory import ExactSpan, copy_rows, empty_past, move_rows
from stagewhisper.engines.pytorch_model import KeysAndValues
from stagewhisper.engines.pytorch_steps import Steps
from stagewhisper.engines.pytorch_weights import Weights

_STEPS_BETWEEN_LOOKS = 8  # asking a GPU whether all have ended makes it wait; some steps in vain cost less
_MOST_IDLE = 4
_LOCKS: dict[torch.device, threading.RLock] = {}  # a graph is recorded and replayed by one thread at a time


@dataclass(frozen=True)
class Features:
    """Cross-attention's keys and values of some windows, layer by layer."""

    cross: tuple[KeysAndValues, ...]
    n_audio: int


@dataclass(frozen=True, eq=False)
class Memory:
    """Buffers that the caches of one decoding share."""

    past: Tensor
    cross: tuple[KeysAndValues, ...]
    n_audio: int
    steps: Steps | None
    """Where the buffers belong to recorded steps."""


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, and those of the audio."""

    memory: Memory
    n_past: int

    @property
    def n_seq(self) -> int:
        """Sequences side by side."""
        return self.memory.past.shape[2]


class DeviceModel:
    """Runs packed weights where they lie."""

    def __init__(
        self, weights: Weights, *, has_fixed_steps: bool | None = None, is_compiled: bool = False, threads: int = 0
    ) -> None:
        """`has_fixed_steps` lets a step work on shapes that do not change; None does so on CUDA, where it is recorded.

        `is_compiled` hands encoder and fixed steps to `torch.compile`: minutes at first, and fewer kernels afterwards.
        """
        self.weights = weights
        self._is_cuda = weights.device.type == "cuda"
        self._has_fixed_steps = self._is_cuda or is_compiled if has_fixed_steps is None else has_fixed_steps
        self._encode = torch.compile(pytorch_model.encode) if is_compiled else pytorch_model.encode
        self._decode = torch.compile(pytorch_model.decode) if is_compiled else pytorch_model.decode
        self._threads = threads
        self._idle: dict[tuple[int, int], list[Steps]] = {}

    @torch.inference_mode()
    def encode(self, mel: MelBatch) -> Features:
        """Cross-attention's keys and values of whole windows."""
        with self._working():
            return self._projected(self._encoded(mel), n_audio=len(mel))

    @torch.inference_mode()
    def audio_features(self, mel: MelBatch) -> AudioFeatures:
        """The encoder's output for whole windows, brought to the host."""
        with self._working():
            return self._encoded(mel).unflatten(0, (len(mel), -1)).float().cpu().numpy()

    @torch.inference_mode()
    def project(self, audio: AudioFeatures) -> Features:
        """Cross-attention's keys and values, from the encoder's output."""
        with self._working():
            return self._projected(self._on_device(audio).flatten(0, 1), n_audio=len(audio))

    @torch.inference_mode()
    def start(self, features: Features) -> Cache:
        """An empty cache with one sequence for each window."""
        with self._working():
            return Cache(self._memory(features.cross, n_audio=features.n_audio, n_seq=features.n_audio), n_past=0)

    @torch.inference_mode()
    def decode_step(
        self, tokens: Tokens, cache: Cache, *, logit_positions: Sequence[int]
    ) -> tuple[PositionLogits, Cache]:
        """Logits after `tokens`, and the cache that holds them too."""
        with self._working():
            on_device = torch.from_numpy(np.array(tokens)).to(self.weights.device)
            found = self._logits(on_device, cache, logit_positions)
            return found.float().cpu().numpy(), replace(cache, n_past=cache.n_past + tokens.shape[1])

    @torch.inference_mode()
    def reorder(self, cache: Cache, source_indices: Sequence[int]) -> Cache:
        """A cache whose sequence i continues sequence `source_indices[i]`; in place, unless their number changes."""
        with self._working():
            memory = cache.memory
            if len(source_indices) == cache.n_seq:
                move_rows(memory.past, source_indices, n_past=cache.n_past)
                return cache
            other = self._memory(memory.cross, n_audio=memory.n_audio, n_seq=len(source_indices))
            copy_rows(memory.past, other.past, source_indices, n_past=cache.n_past)
            return replace(cache, memory=other)

    @torch.inference_mode()
    def generate(self, features: Features, prompt: Tokens, rules: GenerationRules) -> Generation:
        """The tokens after `prompt`, chosen on the device."""
        with self._working():
            on_device = torch.from_numpy(np.array(prompt)).to(self.weights.device)
            n_prompt = prompt.shape[1]
            cache = self.start(features)
            found = self._logits(on_device, cache, (rules.sot_index, -1))
            cache = replace(cache, n_past=n_prompt)
            rows = np.repeat(np.arange(features.n_audio), rules.n_group).tolist()
            cache = self.reorder(cache, rows)
            choice = self._choose_all(found[:, 1].repeat_interleave(rules.n_group, dim=0), cache, rules)
            tokens = choice.tokens[:, : rules.n_steps].cpu().numpy()
            return Generation(
                tokens=tokens[:, : _n_until_all_ended(tokens, rules.eot)],
                sum_logprobs=choice.sum_logprobs.cpu().numpy(),
                no_speech_probs=found[:, 0].float().softmax(dim=-1)[:, rules.no_speech].cpu().numpy(),
                is_finite=bool(found.isfinite().all()),
            )

    def _choose_all(self, logits: Tensor, cache: Cache, rules: GenerationRules) -> Choice:
        """All choices after a prompt that left `logits`."""
        steps = cache.memory.steps
        choice = self._choice(cache, rules) if steps is None else steps.choice
        choice.begin(rules, n_prompt=cache.n_past)
        times = rules.timestamps
        kind = (times and times.begin, rules.eot, rules.temperature == 0)
        between = 1 if self.weights.device.type == "cpu" else _STEPS_BETWEEN_LOOKS
        for step in range(rules.n_steps):
            if rules.noise is not None:
                choice.noise.copy_(torch.from_numpy(rules.noise()))
            if step == 0:
                choice.choose(logits, is_first=True)
            elif steps is not None:
                steps.choose(kind, n_past=cache.n_past + step - 1)
            else:
                found = self._logits(choice.current, replace(cache, n_past=cache.n_past + step - 1), (-1,))
                choice.choose(found[:, 0], is_first=False)
            if step % between == 0 and bool(choice.ended.all()):
                break
        return choice

    def _logits(self, tokens: Tensor, cache: Cache, positions: Sequence[int]) -> Tensor:
        """Logits at some of the new positions, "n_seq n_positions n_vocab"; those of a recorded step are a copy."""
        n_new = tokens.shape[1]
        wanted = [position % n_new for position in positions]
        if cache.memory.steps is not None and n_new == 1:
            found = cache.memory.steps.logits(tokens, n_past=cache.n_past)[:, None]
            return found.expand(-1, len(wanted), -1).clone()
        span = ExactSpan(cache.memory.past, n_past=cache.n_past, n_new=n_new)
        hidden = pytorch_model.decode(self.weights, tokens, span, cache.memory.cross)
        hidden = hidden if wanted == list(range(n_new)) else hidden[:, wanted]
        found = pytorch_model.logits(self.weights, hidden.flatten(0, 1))
        return found.unflatten(0, (len(tokens), len(wanted)))

    def _encoded(self, mel: MelBatch) -> Tensor:
        """The encoder's output on the device, "n_rows n_state"."""
        on_device = self._on_device(mel)
        # One window fills a processor's cores, and its activations their caches; a GPU wants them all at once.
        batches = [on_device] if self._is_cuda else on_device.split(1)
        return torch.cat([self._encode(self.weights, batch) for batch in batches])

    def _projected(self, audio: Tensor, *, n_audio: int) -> Features:
        return Features(pytorch_model.cross_keys_and_values(self.weights, audio, n_audio=n_audio), n_audio=n_audio)

    def _on_device(self, array: np.ndarray) -> Tensor:
        """Floats where the weights are, in their type."""
        return torch.from_numpy(np.array(array)).to(self.weights.device).to(self.weights.dtype)

    def _memory(self, cross: tuple[KeysAndValues, ...], *, n_audio: int, n_seq: int) -> Memory:
        weights = self.weights
        if not self._has_fixed_steps:
            past = empty_past(weights.dims, n_seq, device=weights.device, dtype=weights.dtype)
            return Memory(past, cross, n_audio, steps=None)
        steps = self._take_steps(n_audio, n_seq)
        steps.begin(cross)
        memory = Memory(steps.past, steps.cross, n_audio, steps)
        # Buffers and graphs are used again once nobody holds a cache of them.
        weakref.finalize(memory, _give_back, self._idle, (n_audio, n_seq), steps).atexit = False
        return memory

    def _take_steps(self, n_audio: int, n_seq: int) -> Steps:
        idle = self._idle.get((n_audio, n_seq))
        if idle:
            return idle.pop()
        return Steps(self.weights, n_audio=n_audio, n_seq=n_seq, is_recording=self._is_cuda, decode=self._decode)

    def _choice(self, cache: Cache, rules: GenerationRules) -> Choice:
        return Choice(
            self.weights.dims, n_audio=cache.memory.n_audio, n_group=rules.n_group, device=self.weights.device
        )

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Where calls are made from: the device alone, or so many threads."""
        device = self.weights.device
        if self._is_cuda:
            with _LOCKS.setdefault(device, threading.RLock()), torch.cuda.device(device):
                yield
            return
        if self._threads and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        yield


def _give_back(idle: dict[tuple[int, int], list[Steps]], shape: tuple[int, int], steps: Steps) -> None:
    """Keep the buffers for the next decoding of this shape; of many shapes, only those of the latest."""
    idle.setdefault(shape, []).append(steps)
    while sum(map(len, idle.values())) > _MOST_IDLE:
        oldest = next(iter(idle))
        idle[oldest].pop()
        if not idle[oldest]:
            del idle[oldest]


def _n_until_all_ended(tokens: Tokens, eot: int) -> int:
    """Steps up to the one at which the last sequence ended, that one included."""
    all_ended = (tokens == eot).all(axis=0)
    return int(all_ended.argmax()) + 1 if all_ended.any() else tokens.shape[1]
