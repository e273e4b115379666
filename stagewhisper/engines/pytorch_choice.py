"""Greedy decoding and sampling on the device: the logit filters, the choice, and what is remembered of it.

All of it is tensors of fixed shape that change in place, so that a CUDA graph can hold a step; scalars that differ from
call to call are tensors too, since a graph would keep their first value.

Source: `stagewhisper.decoding`, which this equals token for token; openai/whisper, `decoding.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.generation import GenerationRules, TimestampRules

_FORBIDDEN = float("-inf")


class Choice:
    """Chooses the next token of every sequence, and keeps what was chosen."""

    def __init__(self, dims: ModelDims, *, n_audio: int, n_group: int, device: torch.device) -> None:
        self._n_vocab, self._n_group = dims.n_vocab, n_group
        n_seq = n_audio * n_group
        self.current = torch.zeros((n_seq, 1), dtype=torch.int64, device=device)
        """The newest token of each sequence."""
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        """Where it stands in the text context."""
        self.tokens = torch.zeros((n_seq, dims.n_text_ctx), dtype=torch.int64, device=device)
        """All that were chosen, from the left."""
        self.sum_logprobs = torch.zeros(n_seq, device=device)
        self.ended = torch.zeros(n_seq, dtype=torch.bool, device=device)
        self.noise = torch.zeros((n_group, dims.n_vocab), device=device)
        """Gumbel noise of the coming step."""
        self._n_chosen = torch.zeros(1, dtype=torch.int64, device=device)
        self._last_is_time, self._former_is_time = torch.zeros_like(self.ended), torch.zeros_like(self.ended)
        self._last_time = torch.zeros(n_seq, dtype=torch.int64, device=device)
        self._bias = torch.zeros((2, dims.n_vocab), device=device)
        self._temperature = torch.ones(1, device=device)
        self._ids = torch.arange(dims.n_vocab, device=device)
        self._rules = GenerationRules(eot=0, no_speech=0, sot_index=0, n_steps=0)

    def begin(self, rules: GenerationRules, *, n_prompt: int) -> None:
        """Forget everything; the tokens to come stand behind a prompt."""
        self._rules = rules
        begin = rules.timestamps.begin if rules.timestamps else 0
        self.position.fill_(n_prompt - 1)
        self._n_chosen.zero_()
        self.tokens.fill_(rules.eot)
        self.sum_logprobs.zero_()
        self.ended.zero_()
        self._last_is_time.zero_()
        self._former_is_time.zero_()
        self._last_time.fill_(begin - 1)
        self._bias.copy_(_suppression(rules, self._n_vocab))
        self._temperature.fill_(rules.temperature or 1.0)

    def memory(self) -> list[Tensor]:
        """Everything that a choice changes."""
        return [
            self.current,
            self.position,
            self.tokens,
            self.sum_logprobs,
            self.ended,
            self._n_chosen,
            self._last_is_time,
            self._former_is_time,
            self._last_time,
        ]

    def choose(self, logits: Float[Tensor, "n_seq n_vocab"], *, is_first: bool) -> None:
        """Take the next token of every sequence; one that has ended goes on ending."""
        rules = self._rules
        scores = logits + self._bias[0 if is_first else 1]  # float32 from here on
        if rules.timestamps:
            self._forbid_by_history(scores, rules.timestamps, eot=rules.eot)
        logprobs = scores.log_softmax(dim=-1)
        draws = logprobs if rules.temperature == 0 else self._with_noise(logprobs)
        if rules.timestamps:
            chosen, logprob = self._chosen_by_kind(logprobs, draws, begin=rules.timestamps.begin)
        else:
            chosen = draws.argmax(dim=-1)
            logprob = logprobs.gather(1, chosen[:, None])[:, 0]
        self.sum_logprobs += logprob.masked_fill(self.ended, 0)
        chosen = chosen.masked_fill(self.ended, rules.eot)
        self._remember(chosen, is_first=is_first)

    def _remember(self, chosen: Tensor, *, is_first: bool) -> None:
        rules = self._rules
        if rules.timestamps:
            is_time = chosen >= rules.timestamps.begin
            self._former_is_time.fill_(True) if is_first else self._former_is_time.copy_(self._last_is_time)
            self._last_is_time.copy_(is_time)
            self._last_time.copy_(torch.where(is_time, chosen, self._last_time))
        self.ended |= chosen == rules.eot
        self.current.copy_(chosen[:, None])
        self.tokens.index_copy_(1, self._n_chosen, self.current)
        self._n_chosen += 1
        self.position += 1

    def _forbid_by_history(self, scores: Tensor, rules: TimestampRules, *, eot: int) -> None:
        closes = self._last_is_time & ~self._former_is_time
        opens = self._last_is_time & self._former_is_time
        # A closing time may be repeated as the next opening one; otherwise times must grow. A segment needs text.
        least = (self._last_time + 1 - closes.long()).masked_fill_(opens, self._n_vocab)
        too_early = self._ids[rules.begin :] < least[:, None]
        scores[:, rules.begin :].masked_fill_(too_early, _FORBIDDEN)
        # A segment has closed: another opens, or the end comes.
        scores[:, :eot].masked_fill_(closes[:, None], _FORBIDDEN)

    def _chosen_by_kind(self, logprobs: Tensor, draws: Tensor, *, begin: int) -> tuple[Tensor, Tensor]:
        """The choice and its log-probability, text being forbidden where times are more probable as a whole."""
        text, text_ids = draws[:, :begin].max(dim=-1)
        time, time_ids = draws[:, begin:].max(dim=-1)
        likeliest = text if draws is logprobs else logprobs[:, :begin].amax(dim=-1)
        times_mass = logprobs[:, begin:].exp().sum(dim=-1)
        only_times = times_mass > likeliest.exp()
        chosen = torch.where(only_times | (time > text), time_ids + begin, text_ids)
        logprob = logprobs.gather(1, chosen[:, None])[:, 0]
        return chosen, logprob - times_mass.log().masked_fill_(~only_times, 0)

    def _with_noise(self, logprobs: Tensor) -> Tensor:
        scaled = (logprobs / self._temperature).view(-1, self._n_group, self._n_vocab) + self.noise
        return scaled.view(-1, self._n_vocab)


def _suppression(rules: GenerationRules, n_vocab: int) -> Float[Tensor, "2 n_vocab"]:
    """What is added to the logits of the first choice, and of the others."""
    bias = torch.zeros((2, n_vocab))
    bias[:, list(rules.suppressed)] = _FORBIDDEN
    bias[0, list(rules.suppressed_first)] = _FORBIDDEN
    times = rules.timestamps
    if times:
        bias[:, times.no_timestamps] = _FORBIDDEN
        bias[0, : times.begin] = _FORBIDDEN
        if times.latest_first is not None:
            bias[0, times.begin + times.latest_first + 1 :] = _FORBIDDEN
    return bias
