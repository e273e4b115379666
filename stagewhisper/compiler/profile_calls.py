"""Make the calls that a profile is about: by the clock alone, and once more with ONNX Runtime's profiler on.

by the clock    bundle, other, bundle, other, …       in turns, so that both meet the same state of the machine
recorded        all of bundle's, then all of other's  since recording costs time, these are not the latencies
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from stagewhisper.compiler.graph_facts import GraphFacts
from stagewhisper.compiler.profile_inputs import DTYPES, call_inputs
from stagewhisper.compiler.profile_options import Phase
from stagewhisper.compiler.profiler_events import RecordedCall, recorded_calls
from stagewhisper.compiler.sessions import bound_call, open_session, value_of
from stagewhisper.errors import BundleError

N_WARM_UP = 2
"""Calls that do not count: the first ones allocate."""
_FEWEST_REPEATS = 3
_ENOUGH = 10.0
"""Seconds of one graph's calls in one phase after which three are enough."""


@dataclass(frozen=True)
class Subject:
    """A graph that is profiled."""

    path: Path
    n_vocab: int
    facts: GraphFacts


@dataclass(frozen=True)
class Timing:
    """The calls of one phase."""

    times: tuple[float, ...]
    """Seconds of each call that counts."""
    inputs: Mapping[str, np.ndarray]
    output_bytes: Mapping[str, int]
    """Sizes of the outputs."""


def timed(
    subjects: Sequence[Subject],
    phases: Sequence[Phase],
    *,
    threads: int | None,
    repeats: int,
    on_phase: Callable[[str], None],
) -> list[list[Timing]]:
    """For each phase a timing of each subject."""
    # The threads of a session that is not called must not keep the cores of the other one busy.
    sessions = [open_session(subject.path, threads=threads, is_alone=len(subjects) == 1) for subject in subjects]
    timings = []
    for phase in phases:
        on_phase(phase.name)
        callers = [_Caller(session, subject, phase) for session, subject in zip(sessions, subjects, strict=True)]
        timings.append(_in_turns(callers, repeats=repeats))
    return timings


def recorded(
    subjects: Sequence[Subject], phases: Sequence[Phase], *, threads: int | None, repeats: Sequence[int]
) -> list[list[tuple[RecordedCall, ...]]]:
    """For each phase the calls of each subject under the profiler, as many as `repeats` says.

    Raises:
        BundleError: the profiler did not record every call.
    """
    with tempfile.TemporaryDirectory(prefix="stagewhisper-profile-") as folder:
        sessions = [
            open_session(
                subject.path,
                threads=threads,
                profile_prefix=Path(folder) / str(index),
                is_alone=len(subjects) == 1,
            )
            for index, subject in enumerate(subjects)
        ]
        for phase, number in zip(phases, repeats, strict=True):
            callers = [_Caller(session, subject, phase) for session, subject in zip(sessions, subjects, strict=True)]
            for _ in range(N_WARM_UP + number):
                for caller in callers:
                    caller.call()
        calls = [recorded_calls(Path(session.end_profiling())) for session in sessions]
    split = [_by_phase(own, repeats, subject.path) for own, subject in zip(calls, subjects, strict=True)]
    return [list(row) for row in zip(*split, strict=True)]


def _by_phase(calls: list[RecordedCall], repeats: Sequence[int], path: Path) -> list[tuple[RecordedCall, ...]]:
    """The calls that count, phase by phase."""
    if len(calls) != sum(repeats) + N_WARM_UP * len(repeats) or not all(call.nodes for call in calls):
        raise BundleError(
            f"ONNX Runtime's profiler recorded {len(calls)} calls of {path}, or not all of them whole. "
            "Ask for fewer repeats or fewer positions."
        )
    found, begin = [], 0
    for number in repeats:
        found.append(tuple(calls[begin + N_WARM_UP : begin + N_WARM_UP + number]))
        begin += N_WARM_UP + number
    return found


class _Caller:
    """Calls one session with one phase's inputs, again and again."""

    def __init__(self, session: Any, subject: Subject, phase: Phase) -> None:
        self._session = session
        self.inputs = call_inputs(session.get_inputs(), phase.call, n_vocab=subject.n_vocab)
        self._aliases = subject.facts.aliases
        self._values = {name: value_of(array) for name, array in self.inputs.items()}

    def call(self) -> float:
        """Seconds of one call; each gets new outputs, as in the engine."""
        binding = bound_call(self._session, self._values, self._aliases)
        started = time.perf_counter()
        self._session.run_with_iobinding(binding)
        return time.perf_counter() - started

    def output_bytes(self) -> dict[str, int]:
        """The size of each output."""
        binding = bound_call(self._session, self._values, self._aliases)
        self._session.run_with_iobinding(binding)
        names = [output.name for output in self._session.get_outputs()]
        return {name: _n_bytes(value) for name, value in zip(names, binding.get_outputs(), strict=True)}

    def timing(self, times: Sequence[float]) -> Timing:
        """What is known after the calls."""
        return Timing(tuple(times), self.inputs, self.output_bytes())


def _in_turns(callers: Sequence[_Caller], *, repeats: int) -> list[Timing]:
    times: list[list[float]] = [[] for _ in callers]
    for number in range(N_WARM_UP + repeats):
        for caller, own in zip(callers, times, strict=True):
            elapsed = caller.call()
            if number >= N_WARM_UP:
                own.append(elapsed)
        if len(times[0]) >= _FEWEST_REPEATS and max(map(sum, times)) > _ENOUGH:
            break
    return [caller.timing(own) for caller, own in zip(callers, times, strict=True)]


def _n_bytes(value: Any) -> int:
    dtype = DTYPES.get(value.data_type())
    if dtype is None:
        raise BundleError(f"An output of the graph is a {value.data_type()}; known are {', '.join(DTYPES)}.")
    return prod(int(length) for length in value.shape()) * np.dtype(dtype).itemsize
