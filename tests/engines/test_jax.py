"""What only the JAX engine does: precisions, programs that are compiled once, meshes of devices, and its refusals."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.engines import ENGINES
from stagewhisper.engines.jax import JaxEngine
from stagewhisper.engines.reference import ReferenceEngine
from stagewhisper.errors import EngineError, OptionError
from tests.checkpoints import random_dims, save_openai
from tests.engines.jax_sample import DIMS, MadeUp, decoded
from tests.logits import CLOSE, our_logits, random_mel, random_tokens


@pytest.fixture(scope="module")
def engine() -> JaxEngine:
    return JaxEngine(MadeUp(), device="cpu")


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """One entry for every program that XLA compiles while the test runs."""
    found: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("changes", [{"n_mels": 128, "n_vocab": 51_866}, {"n_text_layer": 1, "n_vocab": 51_864}])
def test_float32_equals_the_reference(tmp_path: Path, changes: dict[str, int]) -> None:
    dims = random_dims(n_audio_ctx=40, **changes)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims, seed=1))
    engines = JaxEngine(checkpoint, device="cpu"), ReferenceEngine(checkpoint)
    mel, tokens = random_mel(dims, 2), random_tokens(dims, 2, 9)
    found, expected = (our_logits(engine, mel, tokens, calls=(8, 1)) for engine in engines)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


# The largest of 934,000 logits of standard deviation 2, after 4 layers whose activations keep 11 bits, or 8.
@pytest.mark.parametrize(("precision", "dtype", "tolerance"), [("fp16", "float16", 0.03), ("bf16", "bfloat16", 0.25)])
def test_half_precision_stays_near_float32(engine: JaxEngine, precision: str, dtype: str, tolerance: float) -> None:
    half = JaxEngine(MadeUp(), device="cpu", precision=precision)
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 2, 9)
    features = half.encode(mel)
    assert {str(array.dtype) for layer in features.cross for array in layer} == {dtype}
    found, expected = (our_logits(one, mel, tokens) for one in (half, engine))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < tolerance


def test_language_task_prompt_and_timestamps_change_without_compiling_again(
    engine: JaxEngine, compilations: list[str]
) -> None:
    decoded(engine, language="en", sample_len=3)
    first = dict(engine.n_compiled)
    assert first["encode"] >= 1
    assert first["generate"] >= 1
    compilations.clear()
    for options in (
        {"language": "de"},
        {"language": "fr", "task": "translate"},
        {"without_timestamps": True},
        {"prompt": "Once upon a time there was a prompt that is longer than one chunk of the decoder, " * 3},
        {"prefix": "Yes", "sample_len": 12},
        {"suppress_tokens": "", "suppress_blank": False, "max_initial_timestamp": None},
    ):
        decoded(engine, **({"sample_len": 5} | options))
    assert engine.n_compiled == first
    assert compilations == []


def test_the_counter_counts_what_is_compiled(engine: JaxEngine, compilations: list[str]) -> None:
    before = engine.n_compiled
    decoded(engine, n_audio=3, sample_len=2)  # a batch of another size needs programs of its own
    after = engine.n_compiled
    assert {name: after[name] - before.get(name, 0) for name in ("encode", "generate")} == {"encode": 1, "generate": 1}
    assert len(compilations) == 2


def test_text_beyond_the_context_is_refused(engine: JaxEngine) -> None:
    cache = engine.start(engine.encode(random_mel(DIMS, 2)))
    with pytest.raises(EngineError, match=rf"{DIMS.n_text_ctx + 1} tokens behind 0 are more than .* {DIMS.n_text_ctx}"):
        engine.decode_step(random_tokens(DIMS, 2, DIMS.n_text_ctx + 1), cache)


def test_several_devices_equal_one() -> None:
    """Eight windows' worth of devices sharing the batch; four of those pairs, whose devices share the weights."""
    found = run_alone("tests.engines.jax_devices", "cpu:8x1", "cpu:4x2")
    for device, share_of_a_weight, share_of_the_audio in (("cpu:8x1", 1, 1 / 8), ("cpu:4x2", 1 / 2, 1 / 8)):
        assert found[device]["devices"] == 8
        assert found[device]["share_of_a_weight"] == share_of_a_weight
        assert found[device]["share_of_the_audio"] == share_of_the_audio
        assert found[device]["difference"] < CLOSE
        assert found[device]["sides_difference"] < CLOSE
        assert found[device]["same_transcripts"]
    for message, refusal in zip(
        ("needs 16 devices", "n_audio_head is 4, which 8 devices", "needs 0 devices", "needs 9 devices"),
        found["refusals"],
        strict=True,
    ):
        assert message in refusal


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first, second = (run_alone("tests.engines.jax_start", str(tmp_path)) for _ in range(2))
    assert first["misses"] > 0
    assert second["misses"] == 0
    assert second["hits"] >= first["misses"]
    assert second["tokens"] == first["tokens"]


def test_without_jax_the_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "stagewhisper.engines.jax")
    with pytest.raises(OptionError, match=r"'jax' needs the package 'jax'.*pip install '\.\[jax\]'"):
        ENGINES.get("jax")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(EngineError, match=r"no precision 'int8'\. Known: fp32, fp16, bf16"):
        JaxEngine(MadeUp(), precision="int8")


def test_it_tells_that_it_cannot_be_held_to_threads(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        JaxEngine(MadeUp(), device="cpu", threads=1)
    assert "cannot be held to 1 threads" in caplog.text


def run_alone(module: str, *arguments: str) -> dict[str, Any]:
    """The last line of a program's output, which is JSON."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**environment, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
