"""The tokens that a decoding starts from: prompt, start of transcript, language, task, prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewhisper.decoding.options import DecodingOptions
from stagewhisper.errors import OptionError
from stagewhisper.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prefill:
    """Initial tokens, which are given to the decoder in one call."""

    tokens: tuple[int, ...]
    sot_index: int
    """Where the start-of-transcript token stands; the no-speech probability is read there."""


def prefill(tokenizer: Tokenizer, options: DecodingOptions, *, language: str | None, n_text_ctx: int) -> Prefill:
    """Initial tokens of a window.

    The prompt keeps its last n_text_ctx // 2 - 1 tokens. The prefix is cut so that it and `sample_len` new tokens fit
    into n_text_ctx // 2; with the default `sample_len` it is kept whole, as openai/whisper does.

    Raises:
        OptionError: prompt and prefix leave no room for a single token, or hold one that the model does not have.
    """
    tokens = list(tokenizer.sot_sequence(language, options.task, timestamps=not options.without_timestamps))
    prefix = _as_tokens(tokenizer, options.prefix)
    if prefix:
        n_kept = n_text_ctx // 2 - (options.sample_len or n_text_ctx // 2)
        tokens += prefix[-n_kept:]
    prompt = _as_tokens(tokenizer, options.prompt)
    if prompt:
        tokens = [tokenizer.sot_prev, *prompt[-(n_text_ctx // 2 - 1) :], *tokens]
    if len(tokens) >= n_text_ctx:
        raise OptionError(
            f"Prompt and prefix take {len(tokens)} of the model's {n_text_ctx} text positions and leave no room for "
            f"the transcript. Shorten the prefix."
        )
    outside = [token for token in tokens if not 0 <= token < tokenizer.n_vocab]
    if outside:
        raise OptionError(
            f"Prompt or prefix holds the token {outside[0]}, but this model's go from 0 to {tokenizer.n_vocab - 1}."
        )
    return Prefill(tuple(tokens), tokens.index(tokenizer.sot))


def _as_tokens(tokenizer: Tokenizer, text: str | Sequence[int] | None) -> list[int]:
    if not text:
        return []
    return tokenizer.encode(" " + text.strip()) if isinstance(text, str) else list(text)
