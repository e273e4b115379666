"""How many threads an engine on the processor gets."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagewhisper.engines.cpu import cpu_threads


def test_more_threads_than_cores_are_reduced_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    with caplog.at_level(logging.WARNING):
        assert cpu_threads("onnxruntime", device=None, threads=4) == 4
        assert not caplog.records
        assert cpu_threads("onnxruntime", device=None, threads=1_000_000) == 4
    assert "using 4" in caplog.text


@pytest.mark.parametrize("threads", [None, 0])
def test_no_number_leaves_the_choice_to_the_engine(threads: int | None) -> None:
    assert cpu_threads("onnxruntime", device="cpu", threads=threads) == 0


def test_a_model_runs_without_telling_anyone(tmp_path: Path, checkpoint_path: Path) -> None:
    """ONNX Runtime would keep a device id and events for its makers below the user's cache folder."""
    script = (
        "import sys, numpy as np, stagewhisper\n"
        "model = stagewhisper.load(sys.argv[1], cache_dir=sys.argv[2])\n"
        "model.transcribe(np.zeros(16000, np.float32), temperature=0, sample_len=2, language='en')\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-c", script, str(checkpoint_path), str(tmp_path / "models")]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert [path.name for path in tmp_path.rglob("*") if "microsoft" in str(path).lower()] == []
