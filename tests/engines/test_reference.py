"""What only the reference engine does."""

from pathlib import Path

import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.engines.reference import ReferenceEngine


def test_the_reference_tells_that_it_cannot_be_held_to_threads(
    checkpoint_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ReferenceEngine(load_checkpoint(checkpoint_path), threads=3)
    assert "cannot be held to 3 threads" in caplog.text
