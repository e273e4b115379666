"""Greedy decoding and sampling inside one compiled program: prompt, filters, choice and step, until all have ended.

    prompt ─► chunks of CHUNK tokens ─► logits ─► filter, choose ─┐
                                                   ▲              ▼
                                                 logits ◄── one token of every sequence       (lax.while_loop)

Whatever a user may choose from call to call is an argument of the program and no part of it: language and task stand in
the prompt's tokens, its length and all rules are numbers. The same program serves them all.

Source: openai/whisper, `decoding.py`; the filters are those of `stagewhisper.decoding.logit_filters`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from stagewhisper.engines.generation import GenerationRules
from stagewhisper.engines.jax_model import Arithmetic, KeysAndValues, decode, empty_cache, logits_of
from stagewhisper.engines.jax_weights import Weights

CHUNK = 32
"""Tokens of a prompt that go through the decoder together: about as dear as one where memory is the limit."""

N_DRAWS = 16
"""Steps for which noise is brought to the device at once."""


class Rules(NamedTuple):
    """`GenerationRules` as arrays."""

    suppressed: Array
    """Ids that are never chosen, one flag for each."""
    suppressed_first: Array
    eot: Array
    no_speech: Array
    sot_index: Array
    n_steps: Array
    has_timestamps: Array
    time_begin: Array
    no_timestamps: Array
    latest_first: Array
    temperature: Array


class State(NamedTuple):
    """Where a decoding stands between two steps."""

    step: Int32[Array, ""]
    """How many tokens have been chosen for each sequence."""
    tokens: Int32[Array, "n_seq n_text_ctx"]
    last: Int32[Array, " n_seq"]
    before_last: Int32[Array, " n_seq"]
    latest_time: Int32[Array, " n_seq"]
    """The last timestamp's id; -1 before the first one."""
    ended: Bool[Array, " n_seq"]
    sum_logprobs: Float32[Array, " n_seq"]
    n_past: Int32[Array, ""]
    """How many tokens the cache holds."""
    cache: KeysAndValues


class Opening(NamedTuple):
    """What is known after the prompt."""

    no_speech_probs: Float32[Array, " n_audio"]
    is_finite: Bool[Array, ""]


Noise = Float32[Array, "n_draws n_group n_pad"]


def as_arrays(rules: GenerationRules, n_pad: int) -> Rules:
    """The rules for logits of length `n_pad`; what is switched off gets numbers that change nothing."""
    times = rules.timestamps
    latest = n_pad if times is None or times.latest_first is None else times.latest_first
    numbers = {
        "eot": rules.eot,
        "no_speech": rules.no_speech,
        "sot_index": rules.sot_index,
        "n_steps": rules.n_steps,
        "time_begin": n_pad if times is None else times.begin,
        "no_timestamps": 0 if times is None else times.no_timestamps,
        "latest_first": latest,
    }
    arrays: dict[str, Any] = {name: np.int32(number) for name, number in numbers.items()}
    arrays["suppressed"] = _flags(rules.suppressed, n_pad)
    arrays["suppressed_first"] = _flags(rules.suppressed_first, n_pad)
    arrays["has_timestamps"] = np.bool_(times is not None)
    arrays["temperature"] = np.float32(rules.temperature)
    return Rules(**arrays)


def generate(
    how: Arithmetic,
    weights: Weights,
    cross: KeysAndValues,
    prompt: Int32[Array, "n_audio n_padded"],
    n_prompt: Int32[Array, ""],
    n_windows: Int32[Array, ""],
    rules: Rules,
    noise: Noise | None,
) -> tuple[Opening, State]:
    """Everything from the prompt on: to the end, or with noise as far as that reaches.

    The prompt's rows are filled up to a multiple of CHUNK tokens, of which `n_prompt` count; of the windows, the first
    `n_windows` do.
    """
    x, cache = _read_prompt(how, weights, cross, prompt, n_prompt, rules.sot_index)
    logits = logits_of(how, weights, x)
    real = jnp.arange(len(prompt)) < n_windows
    finite = jnp.isfinite(logits[:, :, : how.dims.n_vocab]).all(axis=(1, 2))
    opening = Opening(jax.nn.softmax(logits[:, 0])[:, rules.no_speech], jnp.all(finite | ~real))
    n_group = 1 if noise is None else noise.shape[1]
    state = _initial(how, cache, real, n_prompt, n_group)
    state = _choose(state, jnp.repeat(logits[:, 1], n_group, axis=0), rules, noise)
    return opening, go_on(how, weights, cross, state, rules, noise)


def go_on(
    how: Arithmetic, weights: Weights, cross: KeysAndValues, state: State, rules: Rules, noise: Noise | None
) -> State:
    """The state after some more steps: when all sequences have ended, or where this noise does."""
    n_steps = rules.n_steps
    if noise is not None:
        # The prompt's own choice comes first, so a block may begin in its middle, but always ends at its end.
        n_steps = jnp.minimum(n_steps, (state.step // N_DRAWS + 1) * N_DRAWS)

    def goes_on(state: State) -> Array:
        return (state.step < n_steps) & ~jnp.all(state.ended)

    def one_step(state: State) -> State:
        x, cache = decode(how, weights, cross, state.cache, state.last[:, None], state.n_past)
        state = state._replace(cache=cache, n_past=state.n_past + 1)
        return _choose(state, logits_of(how, weights, x)[:, 0], rules, noise)

    return jax.lax.while_loop(goes_on, one_step, state)


def filtered(logits: Float32[Array, "n_seq n_pad"], state: State, rules: Rules) -> Float32[Array, "n_seq n_pad"]:
    """Logits with -inf for all that must not come next."""
    ids = jnp.arange(logits.shape[1])
    first = state.step == 0
    forbidden = rules.suppressed | (first & rules.suppressed_first)
    forbidden = forbidden | (rules.has_timestamps & _forbidden_by_timestamps(ids, state, rules))
    logits = jnp.where(forbidden, -jnp.inf, logits)
    is_time = ids >= rules.time_begin
    time = jax.nn.logsumexp(jnp.where(is_time, logits, -jnp.inf), axis=1)
    text = jnp.where(is_time, -jnp.inf, logits).max(axis=1)
    prefers_time = rules.has_timestamps & (time > text)
    return jnp.where(prefers_time[:, None] & ~is_time, -jnp.inf, logits)


def _forbidden_by_timestamps(ids: Array, state: State, rules: Rules) -> Bool[Array, "n_seq n_pad"]:
    """What the timestamps so far rule out."""
    begin = rules.time_begin
    is_time, first = ids >= begin, state.step == 0
    last_is_time = (state.step >= 1) & (state.last >= begin)
    opens = last_is_time & ((state.step < 2) | (state.before_last >= begin))
    closes = last_is_time & ~opens
    # A closing time may be repeated as the next opening one; otherwise times must grow.
    earliest = jnp.where(state.latest_time < 0, 0, state.latest_time + jnp.where(closes, 0, 1))
    by_history = (
        (opens[:, None] & is_time)  # a segment needs text
        | (closes[:, None] & (ids < rules.eot))  # another segment opens, or the end comes
        | (is_time & (ids < earliest[:, None]))
    )
    at_first = first & (~is_time | (ids > begin + rules.latest_first))
    return by_history | at_first | (ids == rules.no_timestamps)


def _choose(state: State, logits: Float32[Array, "n_seq n_pad"], rules: Rules, noise: Noise | None) -> State:
    """The state with one more token for every sequence; one that has ended goes on ending."""
    logits = filtered(logits, state, rules)
    scores = logits
    if noise is not None:
        n_draws, n_group, _ = noise.shape
        drawn = noise[state.step % n_draws]
        scores = logits / rules.temperature + jnp.tile(drawn, (len(logits) // n_group, 1))
    chosen = jnp.argmax(scores, axis=1).astype(jnp.int32)
    logprobs = jnp.take_along_axis(logits, chosen[:, None], axis=1)[:, 0] - jax.nn.logsumexp(logits, axis=1)
    chosen = jnp.where(state.ended, rules.eot, chosen)
    return state._replace(
        step=state.step + 1,
        tokens=jax.lax.dynamic_update_slice_in_dim(state.tokens, chosen[:, None], state.step, axis=1),
        last=chosen,
        before_last=state.last,
        latest_time=jnp.where(chosen >= rules.time_begin, chosen, state.latest_time),
        ended=chosen == rules.eot,
        sum_logprobs=state.sum_logprobs + jnp.where(state.ended, 0, logprobs),
    )


def _read_prompt(
    how: Arithmetic, weights: Weights, cross: KeysAndValues, prompt: Array, n_prompt: Array, sot_index: Array
) -> tuple[Array, KeysAndValues]:
    """The last layer's output where the transcript starts and at the prompt's end, [n_audio, 2, n_state]; the cache."""
    n_audio = len(prompt)
    wanted = jnp.stack([sot_index, n_prompt - 1])

    def read(chunk: Array, carry: tuple[Array, KeysAndValues]) -> tuple[Array, KeysAndValues]:
        found, cache = carry
        tokens = jax.lax.dynamic_slice_in_dim(prompt, chunk * CHUNK, CHUNK, axis=1)
        x, cache = decode(how, weights, cross, cache, tokens, chunk * CHUNK)
        here = jnp.take(x, wanted - chunk * CHUNK, axis=1, mode="clip")
        return jnp.where((wanted // CHUNK == chunk)[:, None], here, found), cache

    nothing = jnp.zeros((n_audio, 2, how.dims.n_text_state), how.dtype)
    n_chunks = (n_prompt + CHUNK - 1) // CHUNK
    return jax.lax.fori_loop(0, n_chunks, read, (nothing, empty_cache(how, n_audio)))


def _initial(how: Arithmetic, cache: KeysAndValues, real: Array, n_prompt: Array, n_group: int) -> State:
    """Nothing chosen yet, and a copy of the prompt's cache for every sequence; windows that fill up have ended."""
    n_seq = len(real) * n_group
    if n_group > 1:
        cache = jax.tree.map(lambda one: jnp.repeat(one, n_group, axis=0), cache)
    ids = jnp.full(n_seq, -1, jnp.int32)
    return State(
        step=jnp.int32(0),
        tokens=jnp.zeros((n_seq, how.dims.n_text_ctx), jnp.int32),
        last=ids,
        before_last=ids,
        latest_time=ids,
        ended=jnp.repeat(~real, n_group),
        sum_logprobs=jnp.zeros(n_seq, jnp.float32),
        n_past=n_prompt,
        cache=cache,
    )


def _flags(ids: tuple[int, ...], n_pad: int) -> np.ndarray:
    flags = np.zeros(n_pad, bool)
    flags[list(ids)] = True
    return flags
