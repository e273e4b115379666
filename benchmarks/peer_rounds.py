"""Programs measured in turn: one works at a time, in the same order again and again, so that all meet the same machine.

    starts    fresh processes, each: start, one window, peak memory, end
    rounds    processes that stay: one window to warm up, then as many rounds of all cases as were asked for

A program that fails is left out from then on, and its record tells why.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from peer_process import Command, Worker, WorkerError

N_STARTS = 3
REST = 0.25
"""Seconds between two turns: threads that spin, waiting for more work, have gone to sleep by then."""

Answer = dict[str, Any]


@dataclass
class Record:
    """All that one program answered."""

    starts: list[Answer] = field(default_factory=list)
    rounds: dict[str, list[Answer]] = field(default_factory=dict)
    """Answers by case, one for each round."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Reasons by case, or for "start": why there is no answer."""


def measured(
    commands: Mapping[str, Command], *, cases: Sequence[str], n_rounds: int, say: Callable[[str], None]
) -> dict[str, Record]:
    """Records of all programs."""
    records = {name: Record() for name in commands}
    _starts(commands, records, say)
    running = {name: command for name, command in commands.items() if "start" not in records[name].refusals}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(command)) for name, command in running.items()}
        for turn in range(n_rounds + 1):
            for case in cases if turn > 0 else cases[:1]:
                for name, worker in workers.items():
                    _ask(worker, case, records[name], is_warm_up=turn == 0)
            say(f"round {turn} of {n_rounds}; load {os.getloadavg()[0]:.1f}")
    return records


def _starts(commands: Mapping[str, Command], records: Mapping[str, Record], say: Callable[[str], None]) -> None:
    for turn in range(N_STARTS + 1):  # the first one reads files into the system's cache
        for name, command in commands.items():
            if "start" in records[name].refusals:
                continue
            try:
                answer = _start(command)
            except WorkerError as error:
                records[name].refusals["start"] = str(error)
                say(f"{name} does not run: {error}")
                continue
            if turn > 0:
                records[name].starts.append(answer)
    say("starts done")


def _start(command: Command) -> Answer:
    time.sleep(REST)
    with Worker(command) as worker:
        window = worker.ask("run window")
        if "cannot" in window:
            raise WorkerError(window["cannot"])
        return {"start": worker.start_seconds, **worker.loaded, **worker.ask("memory"), "first": window["whole"]}


def _ask(worker: Worker, case: str, record: Record, *, is_warm_up: bool) -> None:
    if case in record.refusals:
        return
    time.sleep(REST)
    try:
        answer = worker.ask(f"run {case}")
    except WorkerError as error:
        answer = {"cannot": f"it ended: {error}"}
    if "cannot" in answer:
        record.refusals[case] = answer["cannot"]
    elif not is_warm_up:
        record.rounds.setdefault(case, []).append(answer)
