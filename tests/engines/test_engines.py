"""Every engine keeps the protocol's promises and computes what openai-whisper computes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler import compiled
from stagewhisper.engines import ENGINES, AnyEngine, Engine
from stagewhisper.errors import EngineError
from tests.checkpoints import random_dims, save_openai
from tests.logits import CLOSE, load_oracle, our_logits, random_mel, random_tokens, their_logits

DIMS = random_dims(n_audio_ctx=50, n_audio_layer=2, n_text_layer=3, n_text_head=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai(tmp_path_factory.mktemp("engines") / "random.pt", DIMS, seed=5)


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Checkpoint:
    return load_checkpoint(path)


@pytest.fixture(scope="module", params=ENGINES.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def source(name: str, checkpoint: Checkpoint, cache_dir: Path) -> Any:
    """What the engine is made from."""
    return checkpoint if ENGINES.get(name).reads == "checkpoint" else compiled(checkpoint, cache_dir=cache_dir)


@pytest.fixture(scope="module")
def engine(name: str, source: Any) -> AnyEngine:
    return ENGINES.get(name)(source, device=None, threads=None)


@pytest.fixture(scope="module")
def oracle(path: Path) -> whisper.Whisper:
    return load_oracle(path)


def prompted(engine: AnyEngine, n_audio: int = 1, n_tokens: int = 5) -> Any:
    """A cache that holds some tokens for each window."""
    cache = engine.start(engine.encode(random_mel(DIMS, n_audio)))
    return engine.decode_step(random_tokens(DIMS, n_audio, n_tokens), cache).cache


def test_an_engine_has_the_protocols_methods_and_the_models_shape(engine: AnyEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.dims == DIMS


def test_logits_equal_openai_whisper(engine: AnyEngine, oracle: whisper.Whisper) -> None:
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 2, 30)
    found = our_logits(engine, mel, tokens, calls=(17, 1, 12))
    np.testing.assert_allclose(found, their_logits(oracle, mel, tokens), atol=CLOSE)


def test_a_full_text_context_equals_openai_whisper(engine: AnyEngine, oracle: whisper.Whisper) -> None:
    mel, tokens = random_mel(DIMS), random_tokens(DIMS, 1, DIMS.n_text_ctx)
    cache = engine.start(engine.encode(mel))
    cache = engine.decode_step(tokens[:, :-1], cache).cache
    found = engine.decode_step(tokens[:, -1:], cache).logits
    np.testing.assert_allclose(found, their_logits(oracle, mel, tokens)[:, -1:], atol=CLOSE)


def test_token_by_token_equals_all_at_once(engine: AnyEngine) -> None:
    mel, tokens = random_mel(DIMS), random_tokens(DIMS, 1, 6)
    one_by_one = our_logits(engine, mel, tokens, calls=(1,) * 6)
    np.testing.assert_allclose(one_by_one, our_logits(engine, mel, tokens), atol=CLOSE)


def test_windows_side_by_side_do_not_see_each_other(engine: AnyEngine) -> None:
    mel, tokens = random_mel(DIMS, 3), random_tokens(DIMS, 3, 6)
    together = our_logits(engine, mel, tokens)
    alone = [our_logits(engine, mel[i : i + 1], tokens[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=CLOSE)


def test_sequences_of_several_windows_equal_openai_whisper(engine: AnyEngine, oracle: whisper.Whisper) -> None:
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 6, 8)
    found = our_logits(engine, mel, tokens, calls=(4, 3, 1))
    np.testing.assert_allclose(found, their_logits(oracle, mel, tokens), atol=CLOSE)


def test_logits_come_only_at_the_positions_that_were_asked_for(engine: AnyEngine) -> None:
    tokens = random_tokens(DIMS, 2, 6)
    cache = engine.start(engine.encode(random_mel(DIMS, 2)))
    every = engine.decode_step(tokens, cache, logit_positions=range(6)).logits
    assert every.shape == (2, 6, DIMS.n_vocab)
    for positions in ((0,), (-1,), (2, -1), (5, 0, 0), (-6, 3)):
        found = engine.decode_step(tokens, cache, logit_positions=positions).logits
        np.testing.assert_allclose(found, every[:, list(positions)], atol=CLOSE)
    np.testing.assert_allclose(engine.decode_step(tokens, cache).logits, every[:, -1:], atol=CLOSE)


def test_reordered_sequences_go_on_as_the_ones_that_they_continue(engine: AnyEngine) -> None:
    beams = engine.reorder(prompted(engine), [0, 0, 0])
    output = engine.decode_step(random_tokens(DIMS, 3, 2), beams)  # now the three differ
    following = random_tokens(DIMS, 3, 1, seed=9)
    in_place = engine.decode_step(following, output.cache).logits
    order = [2, 0, 2]
    moved = engine.decode_step(following[order], engine.reorder(output.cache, order)).logits
    np.testing.assert_allclose(moved, in_place[order], atol=CLOSE)
    assert np.abs(in_place[0] - in_place[2]).max() > 100 * CLOSE


def test_reordering_into_the_same_order_changes_nothing(engine: AnyEngine) -> None:
    cache = prompted(engine, n_audio=2)
    following = random_tokens(DIMS, 2, 1)
    expected = engine.decode_step(following, cache).logits
    np.testing.assert_array_equal(engine.decode_step(following, engine.reorder(cache, [0, 1])).logits, expected)


def test_a_prompts_cache_serves_many_sequences(engine: AnyEngine) -> None:
    cache = prompted(engine, n_audio=2)
    many = engine.reorder(cache, [0, 0, 0, 1, 1, 1])
    following = random_tokens(DIMS, 2, 1)
    expected = engine.decode_step(following, cache).logits
    found = engine.decode_step(np.repeat(following, 3, axis=0), many).logits
    np.testing.assert_allclose(found, np.repeat(expected, 3, axis=0), atol=CLOSE)
    fewer = engine.reorder(many, [1, 5])
    np.testing.assert_allclose(engine.decode_step(following, fewer).logits, expected, atol=CLOSE)


def test_a_cache_that_was_used_can_be_used_again(engine: AnyEngine) -> None:
    cache = prompted(engine)
    first, second = random_tokens(DIMS, 1, 3, seed=1), random_tokens(DIMS, 1, 1, seed=2)
    expected = engine.decode_step(first, cache).logits
    engine.decode_step(second, cache)
    engine.reorder(cache, [0, 0])
    np.testing.assert_array_equal(engine.decode_step(first, cache).logits, expected)


def test_results_are_not_overwritten_by_later_calls(engine: AnyEngine) -> None:
    output = engine.decode_step(random_tokens(DIMS, 1, 1), prompted(engine))
    kept = output.logits.copy()
    cache = output.cache
    for _ in range(3):
        cache = engine.decode_step(random_tokens(DIMS, 1, 1, seed=4), cache).cache
    np.testing.assert_array_equal(output.logits, kept)


def test_callers_arrays_are_left_alone_and_may_be_of_any_layout(engine: AnyEngine) -> None:
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 2, 4)
    expected = our_logits(engine, mel, tokens)
    strided_mel = np.asfortranarray(mel)
    strided_tokens = np.repeat(tokens, 2, axis=1)[:, ::2]
    assert not strided_mel.flags.c_contiguous
    assert not strided_tokens.flags.c_contiguous
    np.testing.assert_allclose(our_logits(engine, strided_mel, strided_tokens), expected, atol=CLOSE)
    np.testing.assert_array_equal(strided_mel, random_mel(DIMS, 2))
    np.testing.assert_array_equal(strided_tokens, random_tokens(DIMS, 2, 4))


def test_threads_get_what_one_thread_gets(engine: AnyEngine) -> None:
    def logits(seed: int) -> np.ndarray:
        return our_logits(engine, random_mel(DIMS, 1, seed), random_tokens(DIMS, 1, 6, seed), calls=(4, 1, 1))

    expected = [logits(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(logits, range(8)))
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@pytest.mark.parametrize("device", ["cuda", "CPU", "", "tpu:0"])
def test_a_device_that_an_engine_lacks_is_refused_by_name(name: str, source: Any, device: str) -> None:
    with pytest.raises(EngineError, match=rf"{name}.*'cpu' only, not on '{device}'"):
        ENGINES.get(name)(source, device=device, threads=None)


def test_a_negative_number_of_threads_is_refused(name: str, source: Any) -> None:
    with pytest.raises(EngineError, match="-1 threads"):
        ENGINES.get(name)(source, device="cpu", threads=-1)


def test_the_number_of_threads_does_not_change_the_numbers(name: str, source: Any, engine: AnyEngine) -> None:
    mel, tokens = random_mel(DIMS), random_tokens(DIMS, 1, 6)
    single = ENGINES.get(name)(source, device="cpu", threads=1)
    np.testing.assert_allclose(our_logits(single, mel, tokens), our_logits(engine, mel, tokens), atol=CLOSE)
