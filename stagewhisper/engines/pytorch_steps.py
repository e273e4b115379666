"""Steps of one token whose shapes never change, recorded as CUDA graphs and replayed.

A step of a large model is some hundred small kernels; started one by one from Python, the GPU waits for them. A graph
holds them all. What changes from step to step lies in tensors that the graph reads: the token, its position, the rules.
Only the number of keys is fixed for a graph, in steps of 64, so that short texts do not pay for the whole context.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from stagewhisper.engines.pytorch_choice import Choice
from stagewhisper.engines.pytorch_memory import FixedSpan, empty_past
from stagewhisper.engines.pytorch_model import KeysAndValues, decode, logits
from stagewhisper.engines.pytorch_weights import Weights

_KEYS_AT_ONCE = 64

Decode = Callable[[Weights, Tensor, FixedSpan, tuple[KeysAndValues, ...]], Tensor]
"""`pytorch_model.decode`, or its compiled form."""


class Steps:
    """Buffers of one decoding at fixed addresses, and the steps that were recorded on them."""

    def __init__(
        self, weights: Weights, *, n_audio: int, n_seq: int, is_recording: bool, decode: Decode = decode
    ) -> None:
        """`is_recording` needs a CUDA device; without it the same work is done each time."""
        dims = weights.dims
        device, dtype = weights.device, weights.dtype
        self.past = empty_past(dims, n_seq, device=device, dtype=dtype)
        shape = (n_audio, dims.n_text_head, dims.n_audio_ctx, dims.n_text_state // dims.n_text_head)
        self.cross = tuple(
            (torch.empty(shape, device=device, dtype=dtype), torch.empty(shape, device=device, dtype=dtype))
            for _ in range(dims.n_text_layer)
        )
        self.choice = Choice(dims, n_audio=n_audio, n_group=n_seq // n_audio, device=device)
        self._weights = weights
        self._decode = decode
        self._tokens = torch.zeros((n_seq, 1), device=device, dtype=torch.int64)
        self._position = torch.zeros(1, device=device, dtype=torch.int64)
        self._logits = torch.zeros((n_seq, dims.n_vocab), device=device, dtype=dtype)
        self._is_recording = is_recording
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}

    def begin(self, cross: tuple[KeysAndValues, ...]) -> None:
        """Take the audio's keys and values, and forget those of former tokens."""
        self.past.zero_()  # stale numbers would do, but what a damaged window left may be none
        for targets, sources in zip(self.cross, cross, strict=True):
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source)

    def logits(self, tokens: Tensor, *, n_past: int) -> Tensor:
        """Logits after one new token for each sequence, "n_seq n_vocab"; the next call overwrites them."""
        n_keys = self._n_keys(n_past)
        self._tokens.copy_(tokens)
        self._position.fill_(n_past)

        def work() -> None:
            self._logits.copy_(self._run(self._tokens, self._position, n_keys))

        self._repeat(("logits", n_keys), work, changed=())
        return self._logits

    def choose(self, kind: Hashable, *, n_past: int) -> None:
        """A step of `choice`, whose newest tokens stand at `n_past`; `kind` tells rules apart that work differently."""
        n_keys = self._n_keys(n_past)

        def work() -> None:
            found = self._run(self.choice.current, self.choice.position, n_keys)
            self.choice.choose(found, is_first=False)

        self._repeat((kind, n_keys), work, changed=self.choice.memory())

    def _run(self, tokens: Tensor, position: Tensor, n_keys: int) -> Tensor:
        span = FixedSpan(self.past, position=position, n_keys=n_keys)
        hidden = self._decode(self._weights, tokens, span, self.cross)
        return logits(self._weights, hidden.flatten(0, 1))

    def _n_keys(self, n_past: int) -> int:
        return min(-(-(n_past + 1) // _KEYS_AT_ONCE) * _KEYS_AT_ONCE, self._weights.dims.n_text_ctx)

    def _repeat(self, key: Hashable, work: Callable[[], None], *, changed: Sequence[Tensor]) -> None:
        if not self._is_recording:
            work()
            return
        if key not in self._graphs:
            self._graphs[key] = _recorded(work, changed)
        self._graphs[key].replay()


def _recorded(work: Callable[[], None], changed: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
    """`work` as a graph, not yet done; what lies in `changed` is as before."""
    before = [tensor.clone() for tensor in changed]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries load kernels and take memory at their first call, which a graph must not hold
            work()
            _restore(changed, before)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph


def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
