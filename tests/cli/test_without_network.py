"""A newcomer's first minute on a machine without a network: nothing is fetched, and something works."""

import socket
from pathlib import Path

import pytest

from stagewhisper.cli import main
from stagewhisper.hub.known import EMBEDDED
from stagewhisper.model import DEFAULT_MODEL
from tests.sample import SAMPLE


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> list[object]:
    """Addresses that somebody tried to reach: the network is cut, which Hugging Face's variables do not tell."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    return tried


def test_the_default_model_is_refused_in_one_line_that_tells_how_to_get_it_and_what_works_now(
    attempts: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(SAMPLE)]) == 2
    assert attempts
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("stagewhisper: error: ")
    assert written.err.count("\n") == 1
    for part in (
        f"Cannot fetch the model '{DEFAULT_MODEL}'",
        "Check the network",
        f"`stagewhisper models path {DEFAULT_MODEL}`",
        "`--model FOLDER`",
        f"works now: `--model {EMBEDDED}`",
    ):
        assert part in written.err


def test_the_embedded_model_writes_text_and_asks_nobody(
    attempts: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(SAMPLE), "--model", EMBEDDED]) == 0
    written = capsys.readouterr()
    assert written.out.strip()
    assert written.err == ""
    assert attempts == []
