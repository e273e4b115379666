"""Tokens of windows back to the texts of recordings, and how far those are from what was said."""

from collections.abc import Sequence
from pathlib import Path

from stagewhisper.benchmarking.windows import Windows
from stagewhisper.benchmarking.workloads import Workload
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.evaluation import compare_texts, normalizer_for
from stagewhisper.tokenizer import load_tokenizer


def word_error_rate(
    workload: Workload, windows: Windows, tokens: Sequence[Sequence[int]], *, model: Path, normalizer: str
) -> float | None:
    """Errors for each word that was said, as `stagewhisper evaluate` counts them; None where nothing is said.

    Raises:
        StagewhisperError: jiwer or the normaliser's package is not installed.
    """
    checkpoint = load_checkpoint(model)
    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)
    n_errors = n_words = 0
    for recording, own in zip(workload.recordings, recording_tokens(workload, windows, tokens), strict=True):
        normalize = normalizer_for(normalizer, language=recording.language)
        words = compare_texts(recording.text or "", tokenizer.decode(own), normalize=normalize).words
        n_errors, n_words = n_errors + words.n_errors, n_words + words.n_reference
    return n_errors / n_words if n_words else None


def special_tokens(model: Path) -> tuple[int, ...]:
    """What openai/whisper never chooses once anything is suppressed, with the end: what is no text and no time."""
    checkpoint = load_checkpoint(model)
    own = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)
    return (own.eot, own.sot, own.translate, own.transcribe, own.sot_lm, own.sot_prev, own.no_speech)


def recording_tokens(workload: Workload, windows: Windows, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """The tokens of each recording: those of its windows one after another."""
    ends, position = [], 0
    for recording in workload.recordings:
        position += len(recording.samples)
        ends.append(position)
    found: list[list[int]] = [[] for _ in ends]
    owner = 0
    for (start, _), own in zip(windows.bounds, tokens, strict=True):
        while start >= ends[owner] and owner < len(ends) - 1:
            owner += 1
        found[owner] += own
    return found
