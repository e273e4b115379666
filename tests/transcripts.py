"""Transcripts of openai-whisper to compare ours with: its draws seeded as ours are, its results in the same words."""

from typing import Any

import numpy as np
import pytest
import torch
import whisper
import whisper.decoding

from stagewhisper import Model

EXACT = ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio")
PROBABILITIES = ("avg_logprob", "no_speech_prob")


class SeededDraw:
    """Stands in for torch's Categorical inside openai-whisper: the same noise, in the same order, as ours."""

    seed = 0
    rng: np.random.Generator

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits.numpy()

    def sample(self) -> torch.Tensor:
        exponential = self.rng.standard_exponential(self.logits.shape, dtype=np.float32)
        noise = -np.log(np.maximum(exponential, np.finfo(np.float32).tiny))
        return torch.from_numpy((self.logits + noise).argmax(axis=-1))


def seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make openai-whisper draw as we do with `SeededDraw.seed`, 0 at first, until the test ends."""
    monkeypatch.setattr(SeededDraw, "seed", 0)
    run = whisper.decoding.DecodingTask.run

    def seeded(task: whisper.decoding.DecodingTask, mel: torch.Tensor) -> Any:
        SeededDraw.rng = np.random.default_rng([SeededDraw.seed, round(task.options.temperature * 1e6)])
        return run(task, mel)

    monkeypatch.setattr(whisper.decoding, "Categorical", SeededDraw)
    monkeypatch.setattr(whisper.decoding.DecodingTask, "run", seeded)


def assert_equals_openai(model: Model, oracle: whisper.Whisper, samples: np.ndarray, **options: Any) -> dict[str, Any]:
    """Our result as a dictionary, which equals openai-whisper's in all fields.

    Texts, tokens and times are equal; probabilities within 1e-4, as they come from float32 logits that differ by 1e-5.
    """
    ours = model.transcribe(samples, **options).to_dict()
    theirs = whisper.transcribe(oracle, samples.copy(), fp16=False, **options)
    assert ours["text"] == theirs["text"]
    assert ours["language"] == theirs["language"]
    assert picked(ours, EXACT) == picked(theirs, EXACT)
    for mine, other in zip(picked(ours, PROBABILITIES), picked(theirs, PROBABILITIES), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)
    return ours


def picked(result: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: segment[name] for name in names} for segment in result["segments"]]
