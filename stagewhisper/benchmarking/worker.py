"""The process in which one point is measured; `task.py` draws what it is asked, and what it answers.

    python -m stagewhisper.benchmarking.worker

A point has a process, so that imports, memory and what a framework keeps are its own. Whatever a program prints goes
to standard error. A program may use as many cores as it may have threads: some take more for a part of their work.
"""

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_STARTED = time.perf_counter()


def main() -> int:
    """The exit code: 0, or 1 when the program failed, whose last words are on standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # programs print what they like

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")

    content = json.loads(sys.stdin.readline())
    _keep_to_cores(content["threads"])  # before frameworks are imported: they count the cores
    _measure(content, answer)
    return 0


def _measure(content: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    from stagewhisper.benchmarking.compile_time import CompileClock
    from stagewhisper.benchmarking.device_memory import peak_device_bytes
    from stagewhisper.benchmarking.programs import PROGRAMS
    from stagewhisper.benchmarking.task import CannotError, Task
    from stagewhisper.benchmarking.windows import read_windows
    from stagewhisper.process_memory import peak_bytes

    task = Task.from_dict(content)
    program = PROGRAMS[task.engine]
    windows = read_windows(Path(task.audio))
    clock = CompileClock()
    try:
        driver = import_module(f"stagewhisper.benchmarking.{program.module}")
        driver.prepare(task)
        imported = time.perf_counter() - _STARTED
        clock.listen()
        loaded = driver.load(task)
    except CannotError as error:
        answer({"cannot": str(error)})
        return
    clock.take()
    versions = {package: found for package in program.versions if (found := _version(package))}
    answer({"imports": imported, "load": loaded.load, "versions": versions})
    for line in sys.stdin:
        if line.strip() == "memory":
            answer({"host_bytes": peak_bytes(), "device_bytes": peak_device_bytes(task.engine, task.device)})
            continue
        gc.collect()
        started = time.perf_counter()
        tokens: list[list[int]] = [[] for _ in range(len(windows))]
        for language, members in windows.batches(task.batch):
            found = loaded.decode([windows.window(index) for index in members], language=language)
            for index, one in zip(members, found, strict=True):
                tokens[index] = one
        elapsed = time.perf_counter() - started
        answer({"elapsed": elapsed, "compile": clock.take(), "tokens": tokens})


def _keep_to_cores(threads: int | None) -> None:
    if threads is not None and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, mine[-threads:])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
