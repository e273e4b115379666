"""What is left between our bundles and what the machine can do: `stagewhisper profile`, on as many cores as threads.

floor     the longer of two times: the operations at this machine's rate of matrix products, measured in the same
          process, and the bytes at its rate of reading memory
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CALLS = {1: {"encoder": "encoder", "prompt": "prompt", "step": "step at 50"}, 8: {"step, batch 8": "step at 50"}}
"""Windows side by side, and the profiler's phases by what they are called here."""


def remainders(bundle: str, *, threads: int) -> dict[str, dict[str, Any]]:
    """Seconds, floor and what sets it for each call."""
    found = {}
    for n_windows, calls in CALLS.items():
        phases = _profile(bundle, threads=threads, n_windows=n_windows)
        for call, phase in calls.items():
            one = phases[phase]
            floor = one["floor"]
            found[call] = {
                "seconds": one["elapsed"],
                "floor": floor["elapsed"],
                "ratio": floor["ratio"],
                "set by": floor["bound"],
            }
    return found


def lines(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """One line for each bundle."""
    return [
        f"{name}, time / floor: {', '.join(_said(call, one) for call, one in of.items())}" for name, of in found.items()
    ]


def _said(call: str, one: Mapping[str, Any]) -> str:
    return f"{call} {1e3 * one['seconds']:.1f} / {1e3 * one['floor']:.1f} ms = {one['ratio']:.2f} ({one['set by']})"


def _profile(bundle: str, *, threads: int, n_windows: int) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "profile.json"
        command = [sys.executable, "-m", "stagewhisper", "profile", bundle, "--threads", str(threads)]
        options = ["--at", "50", "--batch", str(n_windows), "--repeats", "5", "--json", str(result)]
        subprocess.run(
            ["taskset", "-c", ",".join(map(str, cores)), *command, *options], check=True, capture_output=True
        )
        measured = json.loads(result.read_text(encoding="utf-8"))
    return {phase["name"]: phase for phase in measured["bundles"][0]["phases"]}
