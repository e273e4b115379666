"""The loop from audio features to tokens: one prompt call, then one token after the other."""

import zlib
from collections.abc import Sequence

import numpy as np

from stagewhisper.arrays import PositionLogits, Tokens
from stagewhisper.checkpoint import ModelDims
from stagewhisper.decoding.beam_search import BeamSearch
from stagewhisper.decoding.generation import generation_rules
from stagewhisper.decoding.greedy import Greedy
from stagewhisper.decoding.language import detect_language, most_probable
from stagewhisper.decoding.logit_filters import logit_filters, suppressed_tokens
from stagewhisper.decoding.options import DecodingOptions, DecodingResult
from stagewhisper.decoding.prefill import Prefill, prefill
from stagewhisper.decoding.search import Candidate, Search, best, log_softmax
from stagewhisper.engines.base import AnyEngine
from stagewhisper.engines.generation import Generates, Generation
from stagewhisper.errors import ModelError
from stagewhisper.tokenizer import Tokenizer


def decode(
    engine: AnyEngine, features: object, *, tokenizer: Tokenizer, options: DecodingOptions, n_audio: int = 1
) -> list[DecodingResult]:
    """The transcript of each of the `n_audio` windows in `features`, decoded side by side.

    Raises:
        OptionError: an option does not fit the model.

    Source: openai/whisper, `DecodingTask`; the results equal its own token for token.
    """
    languages = _languages(engine, features, tokenizer=tokenizer, options=options, n_audio=n_audio)
    n_text_ctx = engine.dims.n_text_ctx
    starts = [prefill(tokenizer, options, language=language, n_text_ctx=n_text_ctx) for language in languages]
    search = _search(options, tokenizer=tokenizer, n_audio=n_audio)
    if isinstance(search, Greedy) and isinstance(engine, Generates):
        generation = _generate(
            engine, features, starts, dims=engine.dims, search=search, tokenizer=tokenizer, options=options
        )
        sampled, no_speech_probs = search.take(generation), generation.no_speech_probs.tolist()
    else:
        sampled, no_speech_probs = _sample(
            engine, features, starts, search=search, tokenizer=tokenizer, options=options
        )
    winners = [best(group, length_penalty=options.length_penalty) for group in search.candidates(sampled)]
    return [
        _result(winner, tokenizer=tokenizer, language=language, no_speech_prob=no_speech, options=options)
        for winner, language, no_speech in zip(winners, languages, no_speech_probs, strict=True)
    ]


def check_options(options: DecodingOptions, *, tokenizer: Tokenizer, n_text_ctx: int) -> None:
    """Nothing, if a model with that vocabulary and text context can decode with these options; the language is given.

    Raises:
        OptionError: the model does not know the language or a token, or prompt and prefix leave no room.
    """
    prefill(tokenizer, options, language=options.language, n_text_ctx=n_text_ctx)
    suppressed_tokens(tokenizer, options.suppress_tokens)


def compression_ratio(text: str) -> float:
    """Size of `text` over its zlib-compressed size; repetition makes it high."""
    encoded = text.encode("utf-8")
    return len(encoded) / len(zlib.compress(encoded))


def _languages(
    engine: AnyEngine, features: object, *, tokenizer: Tokenizer, options: DecodingOptions, n_audio: int
) -> list[str]:
    if not tokenizer.is_multilingual:
        return ["en"] * n_audio
    if options.language is not None:
        return [options.language] * n_audio
    detected = detect_language(engine, features, tokenizer=tokenizer, n_audio=n_audio)
    return [most_probable(probabilities) for probabilities in detected]


def _search(options: DecodingOptions, *, tokenizer: Tokenizer, n_audio: int) -> Search:
    if options.beam_size is not None:
        return BeamSearch(n_audio=n_audio, beam_size=options.beam_size, patience=options.patience, eot=tokenizer.eot)
    return Greedy(
        n_audio=n_audio,
        n_group=options.best_of or 1,
        temperature=options.temperature,
        eot=tokenizer.eot,
        seed=options.seed,
    )


def _sample(
    engine: AnyEngine,
    features: object,
    starts: Sequence[Prefill],
    *,
    search: Search,
    tokenizer: Tokenizer,
    options: DecodingOptions,
) -> tuple[Tokens, list[float]]:
    """All sampled tokens, [n_audio · n_group, n_sampled], and the no-speech probability of each window."""
    n_text_ctx = engine.dims.n_text_ctx
    filters = logit_filters(tokenizer, options, n_audio_ctx=engine.dims.n_audio_ctx)
    initial = np.array([start.tokens for start in starts], np.int64)
    # The prompt is run once for each window; its cache then serves every sequence of the window's group.
    output = engine.decode_step(initial, engine.start(features), logit_positions=(starts[0].sot_index, -1))
    _check_numbers(bool(np.isfinite(output.logits).all()))
    no_speech_probs = _no_speech_probs(output.logits, tokenizer)
    rows = np.repeat(np.arange(len(starts)), search.n_group)
    logits, cache = output.logits[rows, -1], engine.reorder(output.cache, rows.tolist())
    sampled = np.zeros((len(rows), 0), np.int64)
    for step in range(options.sample_len or n_text_ctx // 2):
        if step > 0:
            output = engine.decode_step(sampled[:, -1:], cache)
            logits, cache = _own(output.logits)[:, -1], output.cache
        for apply in filters:
            apply(logits, sampled)
        choice = search.choose(sampled, logits)
        sampled = choice.tokens
        if choice.completed or initial.shape[1] + sampled.shape[1] > n_text_ctx:
            break
        cache = engine.reorder(cache, choice.source_indices)
    return sampled, no_speech_probs


def _generate(
    engine: Generates,
    features: object,
    starts: Sequence[Prefill],
    *,
    dims: ModelDims,
    search: Greedy,
    tokenizer: Tokenizer,
    options: DecodingOptions,
) -> Generation:
    """What the engine chooses by itself, as `_sample` would."""
    rules = generation_rules(
        tokenizer,
        options,
        search=search,
        sot_index=starts[0].sot_index,
        n_prompt=len(starts[0].tokens),
        dims=dims,
    )
    prompt = np.array([start.tokens for start in starts], np.int64)
    generation = engine.generate(features, prompt, rules)
    _check_numbers(generation.is_finite)
    return generation


def _own(logits: PositionLogits) -> PositionLogits:
    """The logits, to be edited: an engine may keep the memory that it shows."""
    return logits if logits.flags.owndata and logits.flags.writeable else logits.copy()


def _check_numbers(are_finite: bool) -> None:
    """Refuse to write text that damaged weights make up: the maximum of what is not a number is the first token."""
    if not are_finite:
        raise ModelError(
            "The model's output is not a number: its weights are damaged, or overflow in this precision. "
            "Fetch the model again."
        )


def _no_speech_probs(logits: PositionLogits, tokenizer: Tokenizer) -> list[float]:
    at_start: list[float] = np.exp(log_softmax(logits[:, 0])[:, tokenizer.no_speech]).tolist()
    return at_start


def _result(
    winner: Candidate, *, tokenizer: Tokenizer, language: str, no_speech_prob: float, options: DecodingOptions
) -> DecodingResult:
    text = tokenizer.decode(winner.tokens).strip()
    return DecodingResult(
        tokens=winner.tokens,
        text=text,
        language=language,
        temperature=options.temperature,
        avg_logprob=winner.sum_logprob / (len(winner.tokens) + 1),
        no_speech_prob=no_speech_prob,
        compression_ratio=compression_ratio(text),
    )
