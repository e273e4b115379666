"""Decode again at a higher temperature when the result looks wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewhisper.decoding.decode import decode
from stagewhisper.decoding.options import DecodingOptions, DecodingResult
from stagewhisper.engines.base import AnyEngine
from stagewhisper.tokenizer import Tokenizer


@dataclass(frozen=True)
class Thresholds:
    """What a good result looks like; None switches a test off."""

    compression_ratio_threshold: float | None = 2.4
    """Above it the text is taken for a loop."""
    logprob_threshold: float | None = -1.0
    """Below it, in mean log-probability, the text is taken for a guess."""
    no_speech_threshold: float | None = 0.6
    """Above it, and with a guess for a text, the window is taken for silence."""


def decode_with_fallback(
    engine: AnyEngine,
    features: object,
    *,
    tokenizer: Tokenizer,
    attempts: Sequence[DecodingOptions],
    thresholds: Thresholds,
) -> DecodingResult:
    """The first result that passes among `attempts`, of which there is at least one; the last one if none does.

    The audio has been encoded once for all of them.

    Source: openai/whisper, `transcribe.py`; Radford et al. 2022, section 4.5.
    """
    for options in attempts[:-1]:
        (result,) = decode(engine, features, tokenizer=tokenizer, options=options)
        if not needs_fallback(result, thresholds):
            return result
    (result,) = decode(engine, features, tokenizer=tokenizer, options=attempts[-1])
    return result


def needs_fallback(result: DecodingResult, thresholds: Thresholds) -> bool:
    """Whether `result` is a loop or a guess, and not just silence."""
    loops = _above(result.compression_ratio, thresholds.compression_ratio_threshold)
    guesses = _above(thresholds.logprob_threshold, result.avg_logprob)
    silent = _above(result.no_speech_prob, thresholds.no_speech_threshold)
    return (loops or guesses) and not (silent and guesses)


def is_silence(result: DecodingResult, thresholds: Thresholds) -> bool:
    """Whether the window is to be skipped: probably no speech, and no confident text that says otherwise."""
    confident = _above(result.avg_logprob, thresholds.logprob_threshold)
    return _above(result.no_speech_prob, thresholds.no_speech_threshold) and not confident


def _above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit
