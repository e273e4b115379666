"""The parent's side of a worker: start it, ask it, wait no longer than allowed, end it."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from stagewhisper.benchmarking.task import Task
from stagewhisper.errors import StagewhisperError

Answer = Mapping[str, Any]


class WorkerError(StagewhisperError):
    """A worker ended, or took too long; the message is the reason."""


class WorkerCannotError(StagewhisperError):
    """A worker's program does not offer what it was asked; the message is the reason."""


class Worker:
    """A running worker."""

    start: float
    """Seconds from nothing to a loaded model."""
    ready: Answer
    """Seconds of imports and load, and versions."""

    def __init__(self, task: Task, *, log: Path, timeout: float) -> None:
        """`log` takes the standard error; `timeout` is the most seconds that any answer may take.

        Raises:
            WorkerError: it ended, or was not ready in time.
            WorkerCannotError: its program cannot do this.
        """
        started = time.perf_counter()
        self._log, self._timeout = log, timeout
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "stagewhisper.benchmarking.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                env=variables(task.threads),
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        self._reader.start()
        try:
            self.ready = self.ask(json.dumps(task.to_dict()))
        except BaseException:
            self.close()
            raise
        if "cannot" in self.ready:
            self.close()
            raise WorkerCannotError(self.ready["cannot"])
        self.start = time.perf_counter() - started

    def ask(self, question: str) -> Answer:
        """The answer to one line.

        Raises:
            WorkerError: it has ended, or gives none in time.
        """
        assert self._process.stdin is not None  # noqa: S101 it was asked for
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=self._timeout)
        except BrokenPipeError as error:
            raise WorkerError(self._last_words()) from error
        except queue.Empty as error:
            self._process.kill()
            raise WorkerError(f"it gave no answer within {self._timeout:g} s, and was ended") from error
        if not line:
            raise WorkerError(self._last_words())
        answer: Answer = json.loads(line)
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it: it ends by itself when nobody can ask any more."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=10)

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code < 0:
            return f"signal {-code} ended it" + (" (is there enough memory?)" if code == -9 else "")
        return lines[-1].strip() if lines else f"it ended with code {code} and said nothing"


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str]") -> None:
    """Hand every line on, and an empty one at the end."""
    assert process.stdout is not None  # noqa: S101 it was asked for
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put("")


def variables(threads: int | None) -> dict[str, str]:
    """The environment of a process: as many threads as were asked for, no network, no memory before it is needed."""
    folder = str(Path(__file__).parents[2])  # where this very package was imported from
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "ORT_DISABLE_TELEMETRY": "1"}
    jax = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {
        **os.environ,
        "PYTHONPATH": path,
        **quiet,
        **jax,
        **(dict.fromkeys(counts, str(threads)) if threads else {}),
    }
