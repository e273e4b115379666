"""Workers that answer, fail, hang and crash: real processes, whose program is made up."""

import sys

import pytest

from stagewhisper.benchmarking import Decoding, Point
from stagewhisper.benchmarking import process as process_module
from stagewhisper.benchmarking.measure import measure_group, turns
from stagewhisper.benchmarking.task import Task

WORKER = """
import json, os, sys, time
task = json.loads(sys.stdin.readline())
kind = task["model"]
print("Hello from " + kind, file=sys.stderr)
def answer(content): print(json.dumps(content), flush=True)
if kind == "cannot": answer({"cannot": "no such type"}); sys.exit()
if kind == "crash": os.abort()
if kind == "raise": raise ValueError("out of luck")
answer({"imports": 1.0, "load": 2.0, "versions": {}})
runs = 0
for line in sys.stdin:
    if line.strip() == "memory":
        answer({"host_bytes": 5, "device_bytes": None}); continue
    runs += 1
    if kind == "hang" and runs == 2: time.sleep(60)
    answer({"elapsed": float(runs), "compile": None, "tokens": [[runs]]})
"""


@pytest.fixture(autouse=True)
def _made_up_worker(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    start = process_module.subprocess.Popen
    monkeypatch.setattr(
        process_module.subprocess, "Popen", lambda _, **options: start([sys.executable, str(script)], **options)
    )
    monkeypatch.setattr("stagewhisper.benchmarking.measure.REST", 0)


def measured(tmp_path, *kinds, interleave=True, timeout=20.0, repeats=2):
    tasks = {
        Point("jax", "cpu", kind, "float32", 1, "sequential", "long"): Task(
            "jax", "cpu", "float32", 1, kind, "nowhere", Decoding(), (), None, None
        )
        for kind in kinds
    }
    seen = []
    found = measure_group(
        tasks, repeats=repeats, interleave=interleave, timeout=timeout, logs=tmp_path, on_turn=lambda: seen.append(1)
    )
    assert len(seen) == len(kinds) * turns(repeats)
    return {point.model: outcome for point, outcome in found.items()}


@pytest.mark.parametrize("interleave", [True, False])
def test_first_and_warm_runs_are_kept_apart(tmp_path, interleave):
    found = measured(tmp_path, "a", "b", interleave=interleave)
    for outcome in found.values():
        assert (outcome.state, outcome.first["elapsed"], outcome.warm) == ("done", 1.0, [2.0, 3.0])
        assert (outcome.tokens, outcome.memory["host_bytes"], outcome.ready["load"]) == ([[1]], 5, 2.0)
        assert outcome.start > 0


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path):
    found = measured(tmp_path, "cannot", "crash", "raise", "good")
    assert {name: outcome.state for name, outcome in found.items()} == {
        "cannot": "refused", "crash": "failed", "raise": "failed", "good": "done",
    }  # fmt: skip
    assert found["cannot"].reason == "no such type"
    assert found["crash"].reason == "signal 6 ended it"
    assert found["raise"].reason == "ValueError: out of luck"


def test_what_takes_too_long_is_ended(tmp_path):
    found = measured(tmp_path, "hang", "good", timeout=3.0)
    assert (found["hang"].state, found["good"].state) == ("failed", "done")
    assert found["hang"].reason == "it gave no answer within 3 s, and was ended"
