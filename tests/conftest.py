"""Fixtures for all tests. Importing this first makes every annotated shape of the package a checked one."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("stagewhisper", "beartype.beartype")


@pytest.fixture(scope="session")
def audio_dir() -> Path:
    """The folder of real recordings, which lies beside the project and is too large to be part of it."""
    folder = Path(os.environ.get("STAGEWHISPER_TEST_AUDIO", Path(__file__).parents[2] / "shared" / "audio"))
    if not (folder / "manifest.jsonl").is_file():
        pytest.skip(f"no recordings at {folder}; name their folder in STAGEWHISPER_TEST_AUDIO")
    return folder
