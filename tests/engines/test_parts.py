"""Every engine can hold one side of a model alone, and what lies between the sides is the same for all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler import compiled
from stagewhisper.engines import ENGINES, SplitEngine
from stagewhisper.errors import EngineError
from tests.checkpoints import random_dims, save_openai
from tests.logits import CLOSE, load_oracle, our_logits, random_mel, random_tokens

DIMS = random_dims(n_audio_ctx=50, n_audio_layer=2, n_text_layer=3, n_text_head=4)

Load = Callable[..., Any]


class Joined:
    """`encode` in two halves, with an array between them."""

    def __init__(self, encoder: Any, decoder: Any) -> None:
        self.encode = lambda mel: decoder.project(encoder.audio_features(mel))
        self.start, self.decode_step, self.reorder = decoder.start, decoder.decode_step, decoder.reorder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai(tmp_path_factory.mktemp("parts") / "random.pt", DIMS, seed=5)


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Checkpoint:
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def oracle(path: Path) -> whisper.Whisper:
    return load_oracle(path)


@pytest.fixture(scope="module", params=ENGINES.names())
def load(request: pytest.FixtureRequest, checkpoint: Checkpoint, cache_dir: Path) -> Load:
    """Makes one engine, with more options."""
    engine_class: Any = ENGINES.get(request.param)
    source = checkpoint if engine_class.reads == "checkpoint" else compiled(checkpoint, cache_dir=cache_dir)
    return lambda **options: engine_class(source, device="cpu", threads=None, **options)


@pytest.fixture(scope="module")
def whole(load: Load) -> Any:
    return load()


@pytest.fixture(scope="module")
def encoder(load: Load) -> Any:
    return load(part="encoder")


@pytest.fixture(scope="module")
def decoder(load: Load) -> Any:
    return load(part="decoder")


@torch.no_grad()
def their_features(oracle: whisper.Whisper, mel: np.ndarray) -> np.ndarray:
    features: np.ndarray = oracle.encoder(torch.from_numpy(mel)).numpy()
    return features


def test_an_engine_has_the_methods_of_both_sides(whole: Any, encoder: Any, decoder: Any) -> None:
    for engine in (whole, encoder, decoder):
        assert isinstance(engine, SplitEngine)
        assert engine.dims == DIMS


@pytest.mark.parametrize("n_audio", [1, 3])
def test_audio_features_equal_openai_whisper(whole: Any, encoder: Any, oracle: whisper.Whisper, n_audio: int) -> None:
    mel = random_mel(DIMS, n_audio)
    for engine in (whole, encoder):
        found = engine.audio_features(mel)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, their_features(oracle, mel), atol=CLOSE)


def test_the_two_halves_in_a_row_are_encode(whole: Any, encoder: Any, decoder: Any) -> None:
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 4, 6)
    expected = our_logits(whole, mel, tokens, calls=(4, 1, 1))
    for joined in (Joined(whole, whole), Joined(encoder, decoder)):
        np.testing.assert_allclose(our_logits(joined, mel, tokens, calls=(4, 1, 1)), expected, atol=CLOSE)  # type: ignore[arg-type]


def test_audio_features_of_any_layout_are_taken_and_left_alone(decoder: Any, oracle: whisper.Whisper) -> None:
    features, tokens = their_features(oracle, random_mel(DIMS, 2)), random_tokens(DIMS, 2, 3)
    strided = np.asfortranarray(features)
    strided.flags.writeable = False
    found, expected = (
        decoder.decode_step(tokens, decoder.start(decoder.project(one))).logits for one in (strided, features)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_part_refuses_what_the_other_one_does(encoder: Any, decoder: Any) -> None:
    mel = random_mel(DIMS)
    with pytest.raises(EngineError, match=r"holds the model's decoder only.*what its encoder does"):
        decoder.audio_features(mel)
    with pytest.raises(EngineError, match=r"holds the model's encoder only.*what its decoder does"):
        encoder.project(encoder.audio_features(mel))
    for engine in (encoder, decoder):
        with pytest.raises(EngineError, match=r"holds the model's .* only"):
            engine.encode(mel)


@pytest.mark.parametrize("name", ["jax", "pytorch", "reference"])
@pytest.mark.parametrize(("part", "other"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_a_part_reads_no_layer_of_the_other_one(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, name: str, part: str, other: str
) -> None:
    read, names = Checkpoint.weight, []

    def recorded(self: Checkpoint, weight: str) -> np.ndarray:
        names.append(weight)
        return read(self, weight)

    monkeypatch.setattr(Checkpoint, "weight", recorded)
    engine_class: Any = ENGINES.get(name)
    engine_class(checkpoint, device="cpu", threads=None, part=part)
    assert any(weight.startswith(f"{part}.blocks.") for weight in names)
    assert not any(weight.startswith(f"{other}.blocks.") for weight in names)
    assert ("decoder.token_embedding.weight" in names) == (part == "decoder")
