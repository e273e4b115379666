"""Decoding on the device chooses what decoding on the host chooses, token by token."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.cli import main
from stagewhisper.decoding import DecodingOptions
from stagewhisper.decoding.generation import generation_rules
from stagewhisper.decoding.greedy import Greedy
from stagewhisper.decoding.logit_filters import logit_filters
from stagewhisper.engines import Generates
from stagewhisper.engines.pytorch import PyTorchEngine
from stagewhisper.engines.pytorch_choice import Choice
from stagewhisper.errors import ModelError
from stagewhisper.hub.known import EMBEDDED
from tests.engines.jax_sample import DIMS, MadeUp, StepByStep, decoded, mel, tokenizer
from tests.engines.test_pytorch import fixed
from tests.sample import SAMPLE, SAMPLE_TEXT

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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # more of them wait for each other where other programs keep the cores busy


@pytest.fixture(scope="module")
def engines() -> dict[str, PyTorchEngine]:
    return {
        "growing": PyTorchEngine(MadeUp()),
        "fixed": fixed(PyTorchEngine(MadeUp())),
        "two devices": PyTorchEngine(MadeUp(), device="cpu,cpu"),
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_the_device_decodes_as_the_host_does(engines: dict[str, PyTorchEngine], name: str) -> None:
    expected = decoded(StepByStep(engines["growing"]), **OPTIONS[name])
    for engine in engines.values():
        assert isinstance(engine, Generates)
        for found, wanted in zip(decoded(engine, **OPTIONS[name]), expected, strict=True):
            assert found.tokens == wanted.tokens
            assert found.language == wanted.language
            # Sums of up to 80 float32 log-probabilities, from logits that agree within 1e-5.
            assert found.avg_logprob == pytest.approx(wanted.avg_logprob, abs=1e-4)
            assert found.no_speech_prob == pytest.approx(wanted.no_speech_prob, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize(
    "options", [{}, {"without_timestamps": True}, {"suppress_tokens": "", "suppress_blank": False}]
)
def test_made_up_histories_are_chosen_from_as_on_the_host(temperature: float, options: dict[str, Any]) -> None:
    """Logits that favour timestamps and ends, so that all rules come into play."""
    chosen = DecodingOptions(temperature=temperature, best_of=3 if temperature else None, seed=4, **options)
    n_audio, n_group, n_steps = 5, 3 if temperature else 1, 40
    vocabulary = tokenizer(DIMS)
    host, device = (
        Greedy(n_audio=n_audio, n_group=n_group, temperature=temperature, eot=vocabulary.eot, seed=4) for _ in range(2)
    )
    rules = generation_rules(vocabulary, chosen, search=device, sot_index=0, n_prompt=4, dims=DIMS)
    choice = Choice(DIMS, n_audio=n_audio, n_group=n_group, device=torch.device("cpu"))
    choice.begin(rules, n_prompt=4)
    filters = logit_filters(vocabulary, chosen, n_audio_ctx=DIMS.n_audio_ctx)
    sampled, rng = np.zeros((n_audio * n_group, 0), np.int64), np.random.default_rng(1)
    for step in range(n_steps):
        logits = 3 * rng.standard_normal((n_audio * n_group, DIMS.n_vocab)).astype(np.float32)
        logits[:, vocabulary.timestamp_begin :] += rng.choice([0, 2, 5], (len(logits), 1)).astype(np.float32)
        logits[:, vocabulary.eot] += np.float32(step / 4)
        if rules.noise is not None:
            choice.noise.copy_(torch.from_numpy(rules.noise()))
        choice.choose(torch.from_numpy(logits.copy()), is_first=step == 0)
        for apply in filters:
            apply(logits, sampled)
        sampled = host.choose(sampled, logits).tokens
        np.testing.assert_array_equal(choice.tokens[:, : step + 1].numpy(), sampled)
        np.testing.assert_array_equal(choice.current[:, 0].numpy(), sampled[:, -1])
    totals = [one.sum_logprob for group in host.candidates(sampled) for one in group]
    np.testing.assert_allclose(choice.sum_logprobs.numpy(), totals, atol=1e-3)  # 40 sums of about -10
    assert int(choice.position) == 4 + n_steps - 1


def test_tokens_end_where_the_last_sequence_does(engines: dict[str, PyTorchEngine]) -> None:
    """A GPU is asked only now and then whether all have ended; what it did in vain is cut off."""
    options = DecodingOptions(language="en", suppress_tokens="", suppress_blank=False)
    vocabulary = tokenizer(DIMS)
    search = Greedy(n_audio=1, n_group=1, temperature=0, eot=vocabulary.eot, seed=0)
    rules = generation_rules(vocabulary, options, search=search, sot_index=0, n_prompt=3, dims=DIMS)
    for engine in engines.values():
        weights = engine._models[0].weights
        kept = weights.embedding.clone()
        weights.embedding[vocabulary.eot] = 0
        weights.embedding[vocabulary.eot] += 50 * weights.ln.bias / weights.ln.bias.square().sum()  # ends at once
        prompt = np.array([vocabulary.sot_sequence("en", "transcribe", timestamps=True)])
        found = engine.generate(engine.encode(mel(1)), prompt, rules)
        weights.embedding.copy_(kept)
        first_end = found.tokens[0].tolist().index(vocabulary.eot)
        assert found.tokens.shape[1] == first_end + 1 < 10


def test_a_model_whose_output_is_no_number_is_refused(engines: dict[str, PyTorchEngine]) -> None:
    engine = PyTorchEngine(MadeUp())
    engine._models[0].weights.ln.weight[3] = float("nan")
    with pytest.raises(ModelError, match="weights are damaged"):
        decoded(engine)


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, {"temperature": 0.4, "best_of": 2}], ids=repr)
def test_nano_hears_the_same_on_pytorch(nano: stagewhisper.Model, options: dict[str, Any]) -> None:
    """Three windows, each conditioned on the text before."""
    samples = load_audio(SAMPLE)
    long = np.concatenate([np.tile(samples, 4)[: 16_000 * 31], samples, np.zeros(16_000 * 28, np.float32), samples])
    ours = stagewhisper.load(EMBEDDED, engine="pytorch").transcribe(long, language="en", **options)
    expected = nano.transcribe(long, language="en", **options)
    assert len({segment.seek for segment in expected.segments}) > 1
    assert ours.text == expected.text
    assert [segment.tokens for segment in ours.segments] == [segment.tokens for segment in expected.segments]
    assert [segment.start for segment in ours.segments] == [segment.start for segment in expected.segments]


def test_the_command_line_takes_engine_device_and_type(capsys: pytest.CaptureFixture[str]) -> None:
    choice = ["--engine", "pytorch", "--device", "cpu", "--dtype", "bfloat16"]
    assert main(["transcribe", str(SAMPLE), "--model", "nano", "--beam-size", "1", *choice]) == 0
    assert SAMPLE_TEXT in capsys.readouterr().out
    assert main(["transcribe", str(SAMPLE), "--model", "nano", "--engine", "pytorch", "--device", "cuda:77"]) == 2
    assert "not on 'cuda:77'" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_recorded_steps_equal_the_host_on_a_gpu(precision: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    engine = PyTorchEngine(MadeUp(), device="cuda", precision=precision)
    for options in OPTIONS.values():
        for _ in range(2):  # recorded, and replayed
            found = decoded(engine, **options)
        if precision == "fp32":
            expected = decoded(PyTorchEngine(MadeUp()), **options)
            assert [one.tokens for one in found] == [one.tokens for one in expected]
