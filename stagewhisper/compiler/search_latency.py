"""How long a bundle's calls take beside the reference's, and how much memory it needs: measured in fresh processes.

    round 1   reference reference … point point …      a few calls of each in a row, as in real work, the first
    round 2   point point … reference reference …      uncounted; the order changes from round to round
    …
    ratio     the median over the rounds of point / reference

Machines drift: other programs, heat. A ratio of calls made within the same second does not notice. A point's time is
its ratio times what the reference took when it was measured for the first time, so that points of today and of last
week can be compared. The process is new for each bundle, so that no thread and no memory of another one is in the way.

A window is an encoder call, a prompt of 4 tokens and 100 steps; the steps' times are taken at five places and averaged.
The log-Mel spectrogram and the choice of tokens are not in it: they are the same for all recipes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from stagewhisper.bundle import Bundle
from stagewhisper.errors import CompilerError

N_PROMPT = 4
N_STEPS = 100
N_PLACES = 5
"""Positions at which steps are measured, each in the middle of a fifth of the 100 steps."""
N_ROUNDS = 7
N_CALLS = 3
"""Calls of each bundle in each round that count."""
_LONG = 0.05
"""Seconds of a call from which on it fills the caches by itself: then one call a round is enough."""

Times = Mapping[str, Mapping[str, float]]
"""By phase: `reference` and `elapsed`, seconds, and `ratio`."""


def times_beside(reference: Bundle, bundle: Bundle, *, threads: int | None) -> dict[str, dict[str, float]]:
    """The times of `bundle` beside those of `reference`, by phase.

    Raises:
        CompilerError: ONNX Runtime cannot run the bundle, or dies of it.
    """
    found: dict[str, dict[str, float]] = _in_new_process("times", [reference.path, bundle.path], threads=threads)
    return found


def peak_memory(bundle: Bundle, *, threads: int | None) -> int:
    """Bytes of the largest working set of a process that loads the bundle and takes one window through it.

    Python and ONNX Runtime themselves are in it.

    Raises:
        CompilerError: ONNX Runtime cannot run the bundle, or dies of it.
    """
    return int(_in_new_process("memory", [bundle.path], threads=threads)["bytes"])


def latencies(times: Times, baseline: Times) -> dict[str, float]:
    """`encoder_ms`, `prompt_ms`, `step_ms` and `window_ms`: the ratios times what the reference took at first."""
    milliseconds = {phase: 1e3 * each["ratio"] * baseline[phase]["reference"] for phase, each in times.items()}
    step = fmean(value for phase, value in milliseconds.items() if phase.startswith("step"))
    return {
        "encoder_ms": milliseconds["encoder"],
        "prompt_ms": milliseconds["prompt"],
        "step_ms": step,
        "window_ms": milliseconds["encoder"] + milliseconds["prompt"] + N_STEPS * step,
    }


def step_positions(n_text_ctx: int) -> tuple[int, ...]:
    """Tokens in the cache at the measured steps; a model with a short context has fewer."""
    width = N_STEPS // N_PLACES
    places = [N_PROMPT + width // 2 + index * width for index in range(N_PLACES)]
    return tuple(place for place in places if place < n_text_ctx) or (n_text_ctx - 1,)


def _in_new_process(what: str, paths: Sequence[Path], *, threads: int | None) -> Any:
    task = json.dumps({"what": what, "paths": [str(path.absolute()) for path in paths], "threads": threads})
    folder = str(Path(__file__).parents[2])  # where this very package was imported from
    search_path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "stagewhisper.compiler.search_worker"],
        input=task,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": search_path},
        check=False,
    )
    answer = finished.stdout.strip().splitlines()[-1:]
    if finished.returncode == 0 and answer:
        return json.loads(answer[0])
    said = finished.stderr.strip().splitlines()[-1:] or [f"it ended with code {finished.returncode}"]
    raise CompilerError(f"The compiled model cannot be run: {said[0]}")


def interleaved(calls: Sequence[Any], *, n_rounds: int = N_ROUNDS, n_calls: int = N_CALLS) -> dict[str, float]:
    """`reference` and `elapsed`, the medians of both calls, and `ratio`, the median ratio of the rounds.

    `calls` are two functions that make one call each and return its seconds, the reference's first.
    """
    longest = max(call() for call in calls for _ in range(2))  # warm-up: the first ones allocate
    rounds = [_round(calls, index % 2 == 1, is_long=longest > _LONG, n_calls=n_calls) for index in range(n_rounds)]
    return {
        "reference": median(reference for reference, _ in rounds),
        "elapsed": median(elapsed for _, elapsed in rounds),
        "ratio": median(elapsed / reference for reference, elapsed in rounds),
    }


def _round(calls: Sequence[Any], is_turned: bool, *, is_long: bool, n_calls: int) -> tuple[float, float]:
    found = [0.0, 0.0]
    for place in (1, 0) if is_turned else (0, 1):
        if is_long:
            found[place] = calls[place]()
        else:
            calls[place]()
            found[place] = median(calls[place]() for _ in range(n_calls))
    return found[0], found[1]


def timed_call(session: Any, values: Mapping[str, Any], aliases: Mapping[str, str]) -> float:
    """Seconds of one call; it gets new outputs, as in the engine."""
    from stagewhisper.compiler.sessions import bound_call

    binding = bound_call(session, values, aliases)
    started = time.perf_counter()
    session.run_with_iobinding(binding)
    return time.perf_counter() - started
