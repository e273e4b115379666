"""Rules that forbid tokens by setting their logits to -inf, in place, before the next token is chosen.

Source: openai/whisper, `decoding.py`; Radford et al. 2022, section 4.5.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stagewhisper.arrays import Logits, Tokens
from stagewhisper.decoding.options import DecodingOptions
from stagewhisper.errors import OptionError
from stagewhisper.tokenizer import Tokenizer

LogitFilter = Callable[[Logits, Tokens], None]
"""Edits logits [n_seq, n_vocab] given the tokens sampled so far, [n_seq, n_sampled]; initial tokens do not count."""

FORBIDDEN = np.float32(-np.inf)
SECONDS_PER_WINDOW = 30.0


def logit_filters(tokenizer: Tokenizer, options: DecodingOptions, *, n_audio_ctx: int) -> tuple[LogitFilter, ...]:
    """The filters that `options` ask for, in the order in which they apply."""
    filters: list[LogitFilter] = []
    if options.suppress_blank:
        filters.append(suppress_blank(tokenizer))
    if suppressed := suppressed_tokens(tokenizer, options.suppress_tokens):
        filters.append(suppress_tokens(suppressed))
    if not options.without_timestamps:
        latest = max_initial_timestamp_index(options, n_audio_ctx=n_audio_ctx)
        filters.append(timestamp_rules(tokenizer, max_initial_timestamp_index=latest))
    return tuple(filters)


def max_initial_timestamp_index(options: DecodingOptions, *, n_audio_ctx: int) -> int | None:
    """How many places behind <|0.00|> the first timestamp may lie; None where it is free."""
    if not options.max_initial_timestamp:
        return None
    return round(options.max_initial_timestamp / (SECONDS_PER_WINDOW / n_audio_ctx))


def blank_tokens(tokenizer: Tokenizer) -> tuple[int, ...]:
    """A lone space, and the end."""
    return (*tokenizer.encode(" "), tokenizer.eot)


def suppress_blank(tokenizer: Tokenizer) -> LogitFilter:
    """Forbids to begin with a lone space or with the end."""
    blank = list(blank_tokens(tokenizer))

    def apply(logits: Logits, sampled: Tokens) -> None:
        if sampled.shape[1] == 0:
            logits[:, blank] = FORBIDDEN

    return apply


def suppress_tokens(tokens: Sequence[int]) -> LogitFilter:
    """Forbids the given tokens everywhere."""
    columns = np.array(tokens, np.intp)

    def apply(logits: Logits, sampled: Tokens) -> None:
        del sampled
        logits[:, columns] = FORBIDDEN

    return apply


def suppressed_tokens(tokenizer: Tokenizer, tokens: str | Sequence[int] | None) -> tuple[int, ...]:
    """The ids that the option `suppress_tokens` stands for, with the control tokens that no transcript contains.

    Raises:
        OptionError: it is neither a list of ids nor text of ids with commas, an id is not in the vocabulary, or no
            token is left to write with.
    """
    if not tokens:
        return ()
    ids = set(parse_token_ids(tokens, n_vocab=tokenizer.n_vocab))
    if -1 in ids:
        ids.remove(-1)
        ids.update(tokenizer.non_speech_tokens)
    ids.update((tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm))
    ids.add(tokenizer.no_speech)  # its probability is read apart
    if ids.issuperset(range(tokenizer.eot)):
        raise OptionError("suppress_tokens names every token that has a text. Leave some, or nothing can be written.")
    return tuple(sorted(ids))


def parse_token_ids(tokens: str | Sequence[int], *, n_vocab: int) -> list[int]:
    """Token ids from "1,2,-1" or from a sequence."""
    try:
        ids = [int(token) for token in (tokens.split(",") if isinstance(tokens, str) else tokens)]
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"suppress_tokens is {tokens!r}; give token ids with commas between, or -1 for the usual set."
        ) from error
    outside = [token for token in ids if not -1 <= token < n_vocab]
    if outside:
        raise OptionError(f"suppress_tokens names {outside[0]}, but this model's token ids go from 0 to {n_vocab - 1}.")
    return ids


def timestamp_rules(tokenizer: Tokenizer, *, max_initial_timestamp_index: int | None) -> LogitFilter:
    """Makes timestamps come in pairs, increase, and win over text whenever they are more probable as a whole."""
    begin = tokenizer.timestamp_begin

    def apply(logits: Logits, sampled: Tokens) -> None:
        logits[:, tokenizer.no_timestamps] = FORBIDDEN
        for row, tokens in zip(logits, sampled, strict=True):
            _forbid_by_history(row, tokens, begin=begin, eot=tokenizer.eot)
        if sampled.shape[1] == 0:
            logits[:, :begin] = FORBIDDEN
            if max_initial_timestamp_index is not None:
                logits[:, begin + max_initial_timestamp_index + 1 :] = FORBIDDEN
        for row in logits:
            if _log_sum_exp(row[begin:]) > row[:begin].max():
                row[:begin] = FORBIDDEN

    return apply


def _forbid_by_history(row: np.ndarray, tokens: np.ndarray, *, begin: int, eot: int) -> None:
    last_is_timestamp = len(tokens) >= 1 and tokens[-1] >= begin
    opens_segment = len(tokens) < 2 or tokens[-2] >= begin
    if last_is_timestamp and opens_segment:
        row[begin:] = FORBIDDEN  # a segment needs text
    elif last_is_timestamp:
        row[:eot] = FORBIDDEN  # a segment has closed: another opens, or the end comes
    timestamps = tokens[tokens >= begin]
    if len(timestamps):
        # A closing time may be repeated as the next opening one; otherwise times must grow.
        closes_segment = last_is_timestamp and not opens_segment
        row[begin : timestamps[-1] + (0 if closes_segment else 1)] = FORBIDDEN


def _log_sum_exp(row: np.ndarray) -> float:
    peak = row.max()
    if peak == FORBIDDEN:
        return -np.inf
    return float(peak + np.log(np.exp(row - peak).sum()))
