"""How many threads an engine on the processor gets."""

import logging

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
