"""Decoding a window equals openai/whisper's decoding, option by option, on every engine."""

from typing import Any

import numpy as np
import pytest
import torch
import whisper

from stagewhisper import Model
from stagewhisper.decoding import DecodingOptions, decode, detect_language
from stagewhisper.errors import ModelError, OptionError

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no timestamps": {"without_timestamps": True},
    "beams": {"beam_size": 3},
    "patient beams": {"beam_size": 3, "patience": 2.0},
    "length penalty": {"beam_size": 3, "length_penalty": 0.5},
    "translate": {"task": "translate"},
    "prompt": {"prompt": "Once upon a time"},
    "prompt of tokens": {"prompt": list(range(1000, 1300))},
    "prefix": {"prefix": "Yes", "sample_len": 20},
    "all tokens allowed": {"suppress_tokens": ""},
    "blank allowed": {"suppress_blank": False},
    "late start": {"max_initial_timestamp": None},
    "long": {"sample_len": 224, "prompt": list(range(1000, 1300))},
}


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    """Two windows of made-up spectrogram."""
    return np.random.default_rng(0).standard_normal((2, 80, 3000)).astype(np.float32)


@pytest.mark.parametrize("name", OPTIONS)
def test_decoding_equals_openai_whisper(model: Model, oracle: whisper.Whisper, mel: np.ndarray, name: str) -> None:
    options = {"language": "de", "sample_len": 24, **OPTIONS[name]}
    features = model.engine.encode(mel)
    ours = decode(model.engine, features, tokenizer=model.tokenizer, options=DecodingOptions(**options), n_audio=2)
    for i, found in enumerate(ours):
        theirs = whisper.decode(oracle, torch.from_numpy(mel[i]), whisper.DecodingOptions(fp16=False, **options))
        assert list(found.tokens) == theirs.tokens
        assert found.text == theirs.text
        assert found.language == theirs.language
        # Sums of up to 224 float32 log-probabilities, each equal within 1e-5.
        assert found.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
        assert found.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-6)
        assert found.compression_ratio == pytest.approx(theirs.compression_ratio)


def test_language_detection_equals_openai_whisper(model: Model, oracle: whisper.Whisper, mel: np.ndarray) -> None:
    found = detect_language(model.engine, model.engine.encode(mel), tokenizer=model.tokenizer, n_audio=2)
    _, expected = oracle.detect_language(torch.from_numpy(mel))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)  # float32 softmax
        assert max(ours, key=ours.get) == max(theirs, key=theirs.get)


def test_an_undetermined_language_is_detected_for_each_window(
    model: Model, oracle: whisper.Whisper, mel: np.ndarray
) -> None:
    options = DecodingOptions(sample_len=4)
    ours = decode(model.engine, model.engine.encode(mel), tokenizer=model.tokenizer, options=options, n_audio=2)
    theirs = whisper.decode(oracle, torch.from_numpy(mel), whisper.DecodingOptions(fp16=False, sample_len=4))
    assert [result.language for result in ours] == [result.language for result in theirs]
    assert [list(result.tokens) for result in ours] == [result.tokens for result in theirs]


def test_the_same_seed_gives_the_same_draws(model: Model, mel: np.ndarray) -> None:
    features = model.engine.encode(mel[:1])

    def tokens(seed: int) -> tuple[int, ...]:
        options = DecodingOptions(language="en", sample_len=12, temperature=0.8, best_of=3, seed=seed)
        return decode(model.engine, features, tokenizer=model.tokenizer, options=options)[0].tokens

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


def test_a_prompt_that_leaves_no_room_is_refused(model: Model, mel: np.ndarray) -> None:
    options = DecodingOptions(language="en", prefix=list(range(1000, 1450)))
    with pytest.raises(OptionError, match="no room"):
        decode(model.engine, model.engine.encode(mel[:1]), tokenizer=model.tokenizer, options=options)


def test_a_model_whose_output_is_no_number_is_refused(model: Model, mel: np.ndarray) -> None:
    with pytest.raises(ModelError, match="weights are damaged"):
        decode(
            model.engine,
            model.engine.encode(np.full_like(mel[:1], np.nan)),
            tokenizer=model.tokenizer,
            options=DecodingOptions(language="en"),
        )
