"""A profile as a trace that chrome://tracing and Perfetto open: a process for each bundle, a track for each phase.

Each track shows the call whose time was the median one, from 0 on, so that the phases can be compared by eye.

Source: Google, "Trace Event Format": complete events (`X`) in microseconds, metadata (`M`) for names.
"""

from collections.abc import Iterator
from typing import Any

from stagewhisper.compiler.profile_results import BundleProfile, PhaseProfile, Profile
from stagewhisper.compiler.profiler_events import NodeEvent


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """The trace as JSON wants it."""
    events = [event for pid, bundle in enumerate(profile.bundles, start=1) for event in _process(bundle, pid)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _process(bundle: BundleProfile, pid: int) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": bundle.name}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid, phase in enumerate(bundle.phases, start=1):
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": phase.name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
        yield from _track(phase, pid, tid)


def _track(phase: PhaseProfile, pid: int, tid: int) -> Iterator[dict[str, Any]]:
    place = {"ph": "X", "pid": pid, "tid": tid}
    yield {**place, "name": phase.name, "cat": "call", "ts": 0, "dur": _microseconds(phase.trace.elapsed), "args": {}}
    for node in phase.trace.nodes:
        yield {
            **place,
            "name": node.op_type,
            "cat": "node",
            "ts": _microseconds(node.start),
            "dur": _microseconds(node.elapsed),
            "args": _about(node),
        }


def _about(node: NodeEvent) -> dict[str, Any]:
    return {
        "node": node.name,
        "inputs": [f"{value.dtype} {list(value.shape)}" for value in node.inputs],
        "outputs": [f"{value.dtype} {list(value.shape)}" for value in node.outputs],
        "output_bytes": node.output_bytes,
    }


def _microseconds(elapsed: float) -> int:
    return round(elapsed * 1e6)
