"""Decoding of whole windows inside an engine: what it is told, and what it gives back.

An engine may offer `generate` beside the protocol's methods. Then greedy decoding and sampling do not come back to the
host after every token; the result is what `stagewhisper.decoding` chooses from the engine's logits, token by token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from stagewhisper.arrays import Logits, Tokens

Totals = Float32[np.ndarray, " n_seq"]
Probabilities = Float32[np.ndarray, " n_audio"]


@dataclass(frozen=True)
class TimestampRules:
    """Timestamps come in pairs, increase, and win over text whenever they are more probable as a whole."""

    begin: int
    """Id of the first timestamp; those of later times follow it."""
    no_timestamps: int
    """Id of the token that would switch them off."""
    latest_first: int | None
    """How many ids above `begin` the first timestamp may lie; None leaves it free."""


@dataclass(frozen=True)
class GenerationRules:
    """Greedy decoding and sampling in numbers, without a vocabulary."""

    eot: int
    """The id that ends a sequence, which goes on ending."""
    no_speech: int
    """The id whose probability says that nobody speaks."""
    sot_index: int
    """The place in the prompt where that probability is read."""
    n_steps: int
    """The most tokens to choose: prompt and they, but the last one, fit into the text context."""
    suppressed: tuple[int, ...] = ()
    """Ids that are never chosen."""
    suppressed_first: tuple[int, ...] = ()
    """Ids that are not chosen first."""
    timestamps: TimestampRules | None = None
    n_group: int = 1
    """Sequences for each window, side by side."""
    temperature: float = 0.0
    """0 takes the most probable token; above, the largest of logits / temperature + noise is taken."""
    noise: Callable[[], Logits] | None = None
    """Gumbel noise of the next step, "n_group n_vocab", the same for every window; needed above temperature 0."""


@dataclass(frozen=True)
class Generation:
    """What a whole batch of windows was decoded to."""

    tokens: Tokens
    """Chosen tokens, "n_audio·n_group n_chosen", up to the step at which the last sequence ended."""
    sum_logprobs: Totals
    """Sum of the log-probabilities of each sequence's tokens, its first end included."""
    no_speech_probs: Probabilities
    is_finite: bool
    """Whether all logits after the prompt were numbers."""


@runtime_checkable
class Generates(Protocol):
    """An engine that decodes whole windows by itself."""

    def generate(self, features: Any, prompt: Tokens, rules: GenerationRules) -> Generation:
        """The tokens after `prompt`, which has one row for each window in `features`."""
        ...
