"""A worker: one program in a process of its own, asked and answering line by line (see `peer_workers/worker.py`)."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WORKER = Path(__file__).parent / "peer_workers" / "worker.py"


class WorkerError(Exception):
    """A worker ended; the message is the last that it printed."""


@dataclass(frozen=True)
class Command:
    """What is started."""

    python: Path
    program: str
    model: str
    threads: int
    log: Path
    """Where its standard error goes."""


class Worker:
    """A running worker; `start_seconds` is the time from nothing to a loaded model, imports included."""

    def __init__(self, command: Command) -> None:
        started = time.perf_counter()
        self._log = command.log
        arguments = [command.program, command.model, "--threads", str(command.threads)]
        with command.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(command.python), str(WORKER), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | _variables(command.threads),
            )
        try:
            self.loaded: dict[str, Any] = self._answer()
        except WorkerError:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    def ask(self, question: str) -> dict[str, Any]:
        """The answer to one line.

        Raises:
            WorkerError: the worker has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(self._last_words()) from error
        return self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it: it ends by itself when nobody can ask any more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {self._process.returncode} and said nothing"


def _variables(threads: int) -> dict[str, str]:
    """As many threads for every library as were asked for, and nothing from the network."""
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "ORT_DISABLE_TELEMETRY": "1"}
    return dict.fromkeys(counts, str(threads)) | quiet
