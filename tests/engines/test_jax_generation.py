"""Decoding on the device chooses what decoding on the host chooses, token by token."""

from copy import copy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.cli import main
from stagewhisper.decoding import DecodingOptions
from stagewhisper.decoding.generation import generation_rules
from stagewhisper.decoding.greedy import Greedy
from stagewhisper.decoding.logit_filters import logit_filters
from stagewhisper.engines import Generates, GenerationRules
from stagewhisper.engines.jax import JaxEngine
from stagewhisper.engines.jax_generation import State, as_arrays, filtered
from stagewhisper.errors import EngineError, ModelError
from stagewhisper.hub.known import EMBEDDED
from tests.engines.jax_sample import DIMS, MadeUp, StepByStep, decoded, mel, tokenizer
from tests.sample import SAMPLE, SAMPLE_TEXT

N_PAD = DIMS.n_vocab + 23
"""Any length beyond the vocabulary's."""

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no timestamps": {"without_timestamps": True},
    "translate": {"task": "translate", "language": "de"},
    "detected language": {"language": None},
    "long prompt": {"prompt": list(range(1000, 1300))},
    "prefix": {"prefix": "Yes", "sample_len": 20},
    "all tokens allowed": {"suppress_tokens": "", "suppress_blank": False},
    "late start": {"max_initial_timestamp": None},
    "one token": {"sample_len": 1},
    "more than fits": {"sample_len": 500},
    "sampling": {"temperature": 0.8},
    "best of 3": {"temperature": 0.6, "best_of": 3, "seed": 5},
    "sampling, no timestamps": {"temperature": 1.0, "best_of": 3, "without_timestamps": True},
}
FILTERS: dict[str, dict[str, Any]] = {
    "default": {},
    "no timestamps": {"without_timestamps": True},
    "all tokens allowed": {"suppress_tokens": "", "suppress_blank": False},
    "late start": {"max_initial_timestamp": None},
    "first at 0.6 s": {"max_initial_timestamp": 0.6},
}


@pytest.fixture(scope="module")
def engine() -> JaxEngine:
    return JaxEngine(MadeUp(), device="cpu")


def rules_of(options: DecodingOptions, n_group: int = 1) -> GenerationRules:
    search = Greedy(n_audio=1, n_group=n_group, temperature=options.temperature, eot=tokenizer(DIMS).eot, seed=0)
    return generation_rules(tokenizer(DIMS), options, search=search, sot_index=0, n_prompt=4, dims=DIMS)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_device_decodes_as_the_host_does(engine: JaxEngine, name: str) -> None:
    assert isinstance(engine, Generates)
    on_device, on_host = (decoded(one, **OPTIONS[name]) for one in (engine, StepByStep(engine)))
    for found, expected in zip(on_device, on_host, strict=True):
        assert found.tokens == expected.tokens
        assert found.language == expected.language
        # Sums of up to 80 float32 log-probabilities, from logits that agree within 1e-5.
        assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
        assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=1e-3)


def test_sampling_goes_on_with_new_noise_until_the_end(engine: JaxEngine) -> None:
    """More steps than noise is brought to the device for at once."""
    assert [len(result.tokens) for result in decoded(engine, temperature=0.9, sample_len=50)] == [50, 50]
    assert engine.n_compiled["go_on"] >= 1


@pytest.mark.parametrize("name", FILTERS)
def test_filters_equal_those_of_the_host(name: str) -> None:
    """On made-up histories: every order of text, timestamps and ends, of up to four tokens."""
    options = DecodingOptions(**FILTERS[name])
    filters = logit_filters(tokenizer(DIMS), options, n_audio_ctx=DIMS.n_audio_ctx)
    rules = as_arrays(rules_of(options), N_PAD)
    rng = np.random.default_rng(3)
    program = jax.jit(filtered)
    for n_sampled in range(5):
        sampled = histories(rng, n_sampled)
        logits = rng.standard_normal((len(sampled), DIMS.n_vocab)).astype(np.float32)
        logits[::2, tokenizer(DIMS).timestamp_begin :] += 8  # where timestamps outweigh text
        padded = np.pad(logits, ((0, 0), (0, N_PAD - DIMS.n_vocab)), constant_values=-np.inf)
        found = np.asarray(program(padded, state_after(sampled), rules))
        for apply in filters:
            apply(logits, sampled)
        np.testing.assert_array_equal(found[:, : DIMS.n_vocab], logits)
        assert (found[:, DIMS.n_vocab :] == -np.inf).all()


def histories(rng: np.random.Generator, n_sampled: int) -> np.ndarray:
    """32 made-up sequences of sampled tokens."""
    begin, eot = tokenizer(DIMS).timestamp_begin, tokenizer(DIMS).eot
    kinds = rng.integers(0, 5, (32, n_sampled))
    text, times = rng.integers(0, eot, kinds.shape), begin + np.sort(rng.integers(0, 1501, kinds.shape), axis=1)
    return np.where(kinds == 4, eot, np.where(kinds >= 2, times, text)).astype(np.int64)


def state_after(sampled: np.ndarray) -> State:
    """What the filters are told of a history."""
    n_seq, n_sampled = sampled.shape
    ids = np.pad(sampled, ((0, 0), (2, 0)), constant_values=-1).astype(np.int32)
    is_time = sampled >= tokenizer(DIMS).timestamp_begin
    latest = [row[times][-1] if times.any() else -1 for row, times in zip(sampled, is_time, strict=True)]
    return State(
        step=np.int32(n_sampled),
        tokens=np.zeros((n_seq, DIMS.n_text_ctx), np.int32),
        last=ids[:, -1],
        before_last=ids[:, -2],
        latest_time=np.array(latest, np.int32),
        ended=np.zeros(n_seq, bool),
        sum_logprobs=np.zeros(n_seq, np.float32),
        n_past=np.int32(4 + n_sampled),
        cache=(),
    )  # type: ignore[arg-type]


def test_equal_sequences_are_decoded_once(engine: JaxEngine) -> None:
    prompt = np.array([[50_258, 50_259, 50_359, 50_363]] * 2)
    features = engine.encode(mel(2))
    rules = rules_of(DecodingOptions(sample_len=5), n_group=3)
    generation = engine.generate(features, prompt, rules)
    assert generation.tokens.shape == (6, 5)
    assert generation.sum_logprobs.shape == (6,)
    for group in (generation.tokens[:3], generation.tokens[3:]):
        assert (group == group[0]).all()
    assert generation.sum_logprobs[0] != generation.sum_logprobs[3]


def test_sampling_without_noise_is_refused(engine: JaxEngine) -> None:
    rules = GenerationRules(eot=1, no_speech=2, sot_index=0, n_steps=3, temperature=0.5)
    with pytest.raises(EngineError, match=r"0\.5, but there is no noise"):
        engine.generate(engine.encode(mel(2)), np.array([[5], [5]]), rules)


def test_logits_that_are_no_numbers_are_refused(engine: JaxEngine) -> None:
    damaged = copy(engine)  # with the same compiled programs
    norm = engine._weights["decoder"]["ln"]
    damaged._weights = engine._weights | {
        "decoder": engine._weights["decoder"] | {"ln": norm | {"bias": norm["bias"] * np.float32(np.nan)}}
    }
    with pytest.raises(ModelError, match="not a number"):
        decoded(damaged, sample_len=2)


def test_nano_writes_on_jax_what_it_writes_on_onnxruntime(
    nano: stagewhisper.Model, audio_dir: Path, cache_dir: Path
) -> None:
    on_jax = stagewhisper.load(EMBEDDED, engine="jax", device="cpu", cache_dir=cache_dir)
    clips = [
        SAMPLE,
        *sorted((audio_dir / "fsdd").glob("*.*"))[:40:20],
        *sorted((audio_dir / "an4").glob("*.*"))[:40:20],
    ]
    for clip in clips:
        samples = load_audio(clip)
        for options in ({}, {"language": "en", "without_timestamps": True}):
            found, expected = (model.transcribe(samples, temperature=0, **options) for model in (on_jax, nano))
            assert found.language == expected.language
            assert [segment.tokens for segment in found.segments] == [segment.tokens for segment in expected.segments]


def test_the_command_line_runs_it(capsys: pytest.CaptureFixture[str], cache_dir: Path) -> None:
    options = ["--engine", "jax", "--device", "cpu", "--dtype", "float32", "--model-dir", str(cache_dir)]
    assert main(["transcribe", str(SAMPLE), "--model", EMBEDDED, *options]) == 0
    assert capsys.readouterr().out.strip() == SAMPLE_TEXT
