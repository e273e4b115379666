"""Fixtures for all tests. Importing this first makes every annotated shape of the package a checked one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

import tests.type_checking  # noqa: F401  the hook finds it by name

install_import_hook("stagewhisper", "tests.type_checking.checked")

import stagewhisper  # noqa: E402  after the hook, which looks at modules as they are imported

if TYPE_CHECKING:
    import whisper


@pytest.fixture(scope="session")
def audio_dir() -> Path:
    """The folder of real recordings, which lies beside the project and is too large to be part of it."""
    folder = Path(os.environ.get("STAGEWHISPER_TEST_AUDIO", Path(__file__).parents[2] / "shared" / "audio"))
    if not (folder / "manifest.jsonl").is_file():
        pytest.skip(f"no recordings at {folder}; name their folder in STAGEWHISPER_TEST_AUDIO")
    return folder


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny multilingual checkpoint with random weights, as an OpenAI `.pt` file."""
    from tests.checkpoints import random_dims, save_openai

    return save_openai(tmp_path_factory.mktemp("checkpoint") / "random.pt", random_dims(), seed=3)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of compiled models for the whole test run, apart from the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def oracle(checkpoint_path: Path) -> "whisper.Whisper":
    """openai/whisper's own model with the weights of `checkpoint_path`."""
    import torch
    import whisper

    torch.set_num_threads(1)  # more of them wait for each other where other programs keep the cores busy
    return whisper.load_model(str(checkpoint_path), device="cpu")


@pytest.fixture(scope="session")
def nano(cache_dir: Path) -> "stagewhisper.Model":
    """The embedded, trained model."""
    from stagewhisper.hub.known import EMBEDDED

    return stagewhisper.load(EMBEDDED, cache_dir=cache_dir)


@pytest.fixture(scope="session")
def nano_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's weights as an OpenAI `.pt` file, for openai/whisper reads no other."""
    from benchmarks.peer_checkpoints import write_openai
    from stagewhisper.checkpoint import load_checkpoint
    from stagewhisper.hub.known import embedded_path

    path = tmp_path_factory.mktemp("nano") / "nano.pt"
    write_openai(load_checkpoint(embedded_path()), path)
    return path


@pytest.fixture(scope="session", params=["onnxruntime", "reference"])
def model(request: pytest.FixtureRequest, checkpoint_path: Path, cache_dir: Path) -> "stagewhisper.Model":
    """Our model with the same weights, once on each engine."""
    return stagewhisper.load(checkpoint_path, engine=request.param, cache_dir=cache_dir)
