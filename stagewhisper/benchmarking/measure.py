"""The points of a group measured in turn, so that all meet the same machine.

    load     A  B  C        one process each, started one after the other
    first    A  B  C        the first run of each, compiling included where a program compiles then
    round 1  A  B  C        warm runs, one program at work at a time
    round 2  A  B  C
    …
    memory   A  B  C

Not interleaved, a point does all this alone, and its process ends before the next one starts: for machines that cannot
hold all models at once. A point that fails is left out from then on; its outcome tells why.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from stagewhisper.benchmarking.points import Point
from stagewhisper.benchmarking.process import Answer, Worker, WorkerCannotError, WorkerError
from stagewhisper.benchmarking.task import Task

REST = 0.25
"""Seconds between two turns: threads that spin, waiting for more work, have gone to sleep by then."""


@dataclass
class Outcome:
    """All that one point answered, as it came."""

    state: str = "done"
    """"done", "refused" (the program does not offer it) or "failed"."""
    reason: str | None = None
    start: float | None = None
    """Seconds from nothing to a loaded model."""
    compile: float | None = None
    """Seconds of compiling before that."""
    ready: Answer = field(default_factory=dict)
    first: Answer = field(default_factory=dict)
    warm: list[float] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    """Of each window, from the first run."""
    memory: Answer = field(default_factory=dict)

    def stop(self, state: str, reason: str) -> None:
        """Take no further part."""
        self.state, self.reason = state, " ".join(reason.split())


def measure_group(
    tasks: Mapping[Point, Task],
    *,
    repeats: int,
    interleave: bool,
    timeout: float,
    logs: Path,
    on_turn: Callable[[], None],
) -> dict[Point, Outcome]:
    """Outcomes of points that do the same work; `on_turn` is called after each turn of each, done or given up."""
    if not interleave:
        apart = [{point: task} for point, task in tasks.items()]
        return {
            point: found for one in apart for point, found in _in_turn(one, repeats, timeout, logs, on_turn).items()
        }
    return _in_turn(tasks, repeats, timeout, logs, on_turn)


def turns(repeats: int) -> int:
    """How often `on_turn` is called for each point: load, first run, warm runs."""
    return 2 + repeats


def _in_turn(
    tasks: Mapping[Point, Task], repeats: int, timeout: float, logs: Path, on_turn: Callable[[], None]
) -> dict[Point, Outcome]:
    outcomes = {point: Outcome() for point in tasks}
    with ExitStack() as stack:
        workers: dict[Point, Worker] = {}
        for number, (point, task) in enumerate(tasks.items()):
            outcome = outcomes[point]
            try:
                workers[point] = stack.enter_context(Worker(task, log=logs / f"{number}.log", timeout=timeout))
                outcome.start, outcome.ready = workers[point].start, workers[point].ready
            except WorkerCannotError as error:
                outcome.stop("refused", str(error))
            except WorkerError as error:
                outcome.stop("failed", str(error))
            on_turn()
        for turn in range(1 + repeats):
            for point, outcome in outcomes.items():
                _run(workers.get(point), outcome, is_first=turn == 0)
                on_turn()
        for point, worker in workers.items():
            _remember(worker, outcomes[point])
    return outcomes


def _run(worker: Worker | None, outcome: Outcome, *, is_first: bool) -> None:
    if worker is None or outcome.state != "done":
        return
    time.sleep(REST)
    try:
        answer = worker.ask("run")
    except WorkerError as error:
        outcome.stop("failed", str(error))
        return
    if is_first:
        outcome.first = {name: value for name, value in answer.items() if name != "tokens"}
        outcome.tokens = answer["tokens"]
    else:
        outcome.warm.append(answer["elapsed"])


def _remember(worker: Worker, outcome: Outcome) -> None:
    if outcome.state != "done":
        return
    try:
        outcome.memory = worker.ask("memory")
    except WorkerError as error:
        outcome.stop("failed", str(error))
