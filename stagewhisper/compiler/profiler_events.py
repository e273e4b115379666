"""What ONNX Runtime's profiler wrote → the nodes of each call, in the order in which they ran.

The file is a list of events in Chrome's Trace Event Format. A `model_run` is one call; the `Node` events within its
time are its nodes. Weights that a kernel keeps in a layout of its own are missing from the shapes of its inputs.

An If, a Loop or a Scan has an event of its own, whose time has that of the nodes in its graph in it. Each event is
written when its node is done: those within a container stand before it, and began after it.

    file    a  x  y  If  b        If   ├──────────────┤        its own: 20 − 8 − 9
                                  x      ├───8──┤
                                  y              ├─9─┤

Source: ONNX Runtime's documentation, "Profiling Tools"; and what release 1.31 writes.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_SUFFIX = "_kernel_time"
_CONTAINERS = frozenset({"If", "Loop", "Scan"})
"""Operators that run graphs of their own."""


@dataclass(frozen=True)
class TensorShape:
    """An array as a node saw it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class NodeEvent:
    """One node in one call."""

    name: str
    op_type: str
    index: int
    """The node's number in ONNX Runtime's graph, which has been optimised."""
    start: float
    """Seconds since the call began."""
    elapsed: float
    """Seconds; the profiler counts in microseconds. A container's have those of the nodes within it in them."""
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    output_bytes: int
    container: str = ""
    """The If, Loop or Scan whose graph has the node, by name; none for a node of the outer graph."""
    within: float = 0.0
    """Of the elapsed seconds, those of the nodes within a container."""

    @property
    def is_container(self) -> bool:
        """Whether it runs a graph: what it puts out is what nodes within it have written."""
        return self.op_type in _CONTAINERS

    @property
    def own_elapsed(self) -> float:
        """Seconds that no node within it took."""
        return max(0.0, self.elapsed - self.within)


@dataclass(frozen=True)
class RecordedCall:
    """One call of the graph under the profiler."""

    elapsed: float
    nodes: tuple[NodeEvent, ...]
    """In the order in which they began; what is within a container follows it."""


def recorded_calls(path: Path) -> list[RecordedCall]:
    """Every call in the file, in order."""
    events = json.loads(path.read_text(encoding="utf-8"))
    runs = sorted((event for event in events if event.get("name") == "model_run"), key=_start)
    starts = [_start(run) for run in runs]
    nodes: list[list[NodeEvent]] = [[] for _ in runs]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            run = bisect_right(starts, _start(event)) - 1
            if run >= 0:
                nodes[run].append(_node(event, began=starts[run]))
    return [
        RecordedCall(run["dur"] / 1e6, tuple(sorted(_nested(own), key=lambda node: (node.start, -node.elapsed))))
        for run, own in zip(runs, nodes, strict=True)
    ]


def _nested(nodes: Sequence[NodeEvent]) -> list[NodeEvent]:
    """The nodes of one call in the file's order, each with its container and what ran within it."""
    found: list[NodeEvent] = []
    outermost: list[int] = []  # indices of those that no container has been found for
    for node in nodes:
        within = 0.0
        while node.is_container and outermost and found[outermost[-1]].start > node.start:
            index = outermost.pop()
            within += found[index].elapsed
            found[index] = replace(found[index], container=node.name)
        outermost.append(len(found))
        found.append(replace(node, within=within))
    return found


def _node(event: Mapping[str, Any], *, began: int) -> NodeEvent:
    about = event["args"]
    return NodeEvent(
        name=event["name"].removesuffix(_SUFFIX),
        op_type=about["op_name"],
        index=int(about["node_index"]),
        start=(_start(event) - began) / 1e6,
        elapsed=int(event["dur"]) / 1e6,
        inputs=_shapes(about.get("input_type_shape", ())),
        outputs=_shapes(about.get("output_type_shape", ())),
        output_bytes=int(about.get("output_size") or 0),
    )


def _shapes(entries: Sequence[Mapping[str, Sequence[int]]]) -> tuple[TensorShape, ...]:
    """`[{"float": [1, 64]}, …]` as shapes; what is no tensor has none."""
    return tuple(
        TensorShape(dtype, tuple(int(length) for length in shape))
        for entry in entries
        for dtype, shape in entry.items()
    )


def _start(event: Mapping[str, Any]) -> int:
    return int(event["ts"])
