"""Workers measure a program in their own process, and answer line by line."""

import sys
from pathlib import Path

import peer_process
import pytest
from peer_process import Command, Worker, WorkerError
from peer_rounds import measured

ECHO = """
import sys
sys.path.insert(0, {workers!r})
import worker, types
from measuring import AsWhole, CannotError, InParts

def load(model, *, threads):
    if model == "missing":
        raise OSError("no such model")
    print("what a program prints")
    def decode(features, how):
        return [[7] * how.n_tokens for _ in range(features)]
    def transcribe(windows, how):
        if len(windows) > 1:
            raise CannotError("one window at a time")
        return decode(1, how)
    if model == "whole":
        return AsWhole(transcribe, lambda windows: 0.5)
    return InParts(len, lambda n: n, decode)

module = types.ModuleType("drive_echo")
module.load, module.PACKAGES = load, ("numpy",)
sys.modules["drive_echo"] = module
worker.PROGRAMS["echo"] = "drive_echo"
worker.main()
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worker's own program, with one more to drive."""
    script = tmp_path / "worker.py"
    script.write_text(ECHO.format(workers=str(peer_process.WORKER.parent)))
    monkeypatch.setattr(peer_process, "WORKER", script)
    return tmp_path


def command(folder: Path, model: str) -> Command:
    return Command(Path(sys.executable), "echo", model, 1, folder / f"{model}.log")


@pytest.mark.parametrize(("case", "n_audio"), [("window", 1), ("beam 5", 1), ("batch 8", 8)])
def test_a_worker_measures_each_case_with_a_hundred_tokens(echo: Path, case: str, n_audio: int) -> None:
    with Worker(command(echo, "parts")) as worker:
        answer = worker.ask(f"run {case}")
    assert [len(tokens) for tokens in answer["tokens"]] == [100] * n_audio
    assert answer["whole"] >= answer["encoder"] >= 0


def test_a_worker_tells_what_its_program_cannot_do(echo: Path) -> None:
    with Worker(command(echo, "whole")) as worker:
        assert worker.ask("run batch 8") == {"cannot": "one window at a time"}
        assert worker.ask("run window")["encoder"] == 0.5


def test_a_worker_tells_its_memory_and_its_versions(echo: Path) -> None:
    with Worker(command(echo, "parts")) as worker:
        assert worker.ask("memory")["peak_bytes"] > 1_000_000
        assert set(worker.loaded["versions"]) == {"numpy"}


def test_a_program_that_does_not_start_says_why(echo: Path) -> None:
    with pytest.raises(WorkerError, match="no such model"):
        Worker(command(echo, "missing"))


def test_programs_are_measured_in_turn_and_what_fails_is_told(echo: Path) -> None:
    commands = {model: command(echo, model) for model in ("parts", "whole", "missing")}
    records = measured(commands, cases=("window", "batch 8"), n_rounds=2, say=lambda _: None)
    assert [len(records["parts"].rounds[case]) for case in ("window", "batch 8")] == [2, 2]
    assert records["whole"].refusals == {"batch 8": "one window at a time"}
    assert len(records["whole"].rounds["window"]) == 2
    assert "no such model" in records["missing"].refusals["start"]
    assert not records["missing"].rounds
