"""What a profile holds: the machine's rates, and for every bundle and phase its times, bytes and operations.

    Profile ─► BundleProfile ─► PhaseProfile ─► OperatorTime, NodeTime, PhaseBytes, Floor

All times are in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from stagewhisper.compiler.profiler_events import NodeEvent, RecordedCall


@dataclass(frozen=True)
class NodeTime:
    """One node of a graph, over the recorded calls of one phase."""

    name: str
    op_type: str
    elapsed: float
    """Median; of an If, a Loop or a Scan, what is left when the nodes within it are taken off."""
    flops: int
    output_bytes: int
    """None of an If, a Loop or a Scan: nodes within it have written them."""


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one type."""

    op_type: str
    count: int
    elapsed: float
    """Sum of the nodes' medians."""
    share: float
    """Of the sum over all operators, between 0 and 1."""
    flops: int

    @property
    def average(self) -> float:
        """For each node."""
        return self.elapsed / self.count


@dataclass(frozen=True)
class PhaseBytes:
    """Bytes that one call cannot do without, and those that its operators hand to each other."""

    weights: int
    cross_cache: int
    """Keys and values of the audio, read."""
    self_cache_read: int
    """Keys and values of the tokens so far: the positions that count."""
    self_cache_written: int
    """A growing cache is written whole, a fixed one where the new tokens stand."""
    other_inputs: int
    other_outputs: int
    intermediate: int
    """Written by operators for others to read; what of it stays in the processor's caches is not known."""

    @property
    def moved(self) -> int:
        """All but the intermediate ones: what has to come from memory or go there."""
        return (
            self.weights
            + self.cross_cache
            + self.self_cache_read
            + self.self_cache_written
            + self.other_inputs
            + self.other_outputs
        )


@dataclass(frozen=True)
class MachineRates:
    """What this machine reached in the same run, with the same number of threads; operations and bytes per second."""

    fp32: float
    """Product of float32 matrices in ONNX Runtime."""
    int8: float
    """Product of 8-bit matrices in ONNX Runtime."""
    bandwidth: float
    """Reading a buffer that is larger than the caches."""


@dataclass(frozen=True)
class Floor:
    """How far a phase is from the shortest time that the machine's rates allow."""

    compute: float
    """Seconds that its operations take at the measured rates."""
    memory: float
    """Seconds that its bytes take at the measured bandwidth."""
    flops_rate: float
    """Operations per second that the phase reached."""
    bandwidth: float
    """Bytes per second that the phase reached."""
    intensity: float
    """Operations per byte."""
    ratio: float
    """Time over floor; 1 is all that the machine can do."""

    @property
    def elapsed(self) -> float:
        """The floor: whichever takes longer."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> str:
        """What sets it."""
        return "compute" if self.compute >= self.memory else "memory"


@dataclass(frozen=True)
class PhaseProfile:
    """One kind of call."""

    name: str
    """`encoder`, `prompt`, or `step at 100`."""
    n_past: int
    n_new: int
    elapsed: float
    """Median without the profiler."""
    elapsed_p90: float
    n_repeats: int
    recorded: float
    """Median with the profiler; the difference is what recording costs."""
    nodes: tuple[NodeTime, ...]
    """In the order in which they ran."""
    bytes: PhaseBytes
    fp32_flops: int
    int8_flops: int
    uncounted: tuple[str, ...]
    """Types of operators whose operations could not be counted: the sums are too low then."""
    trace: RecordedCall
    """The recorded call whose time is the median one's."""

    @property
    def operators(self) -> tuple[OperatorTime, ...]:
        """Times by type, the longest first."""
        total = self.operators_elapsed
        by_type: dict[str, list[NodeTime]] = {}
        for node in self.nodes:
            by_type.setdefault(node.op_type, []).append(node)
        sums = {op_type: sum(node.elapsed for node in nodes) for op_type, nodes in by_type.items()}
        return tuple(
            OperatorTime(
                op_type=op_type,
                count=len(by_type[op_type]),
                elapsed=sums[op_type],
                share=sums[op_type] / total if total else 0.0,
                flops=sum(node.flops for node in by_type[op_type]),
            )
            for op_type in sorted(sums, key=lambda op_type: (-sums[op_type], op_type))
        )

    @property
    def operators_elapsed(self) -> float:
        """Sum over all nodes."""
        return sum(node.elapsed for node in self.nodes)

    @property
    def flops(self) -> int:
        """Operations of either precision."""
        return self.fp32_flops + self.int8_flops


@dataclass(frozen=True)
class BundleProfile:
    """One compiled model."""

    name: str
    precision: str
    n_bytes: int
    """Of its graphs and weights on disk."""
    phases: tuple[PhaseProfile, ...]


@dataclass(frozen=True)
class Profile:
    """One or two bundles, measured in turns on one machine."""

    bundles: tuple[BundleProfile, ...]
    rates: MachineRates
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the traces."""
        return {
            "options": dict(self.options),
            "rates": asdict(self.rates),
            "bundles": [_bundle(bundle, self.rates) for bundle in self.bundles],
        }


def floor_of(phase: PhaseProfile, rates: MachineRates) -> Floor:
    """How far `phase` is from what the machine allows."""
    compute = phase.fp32_flops / rates.fp32 + phase.int8_flops / rates.int8
    memory = phase.bytes.moved / rates.bandwidth
    return Floor(
        compute=compute,
        memory=memory,
        flops_rate=phase.flops / phase.elapsed,
        bandwidth=phase.bytes.moved / phase.elapsed,
        intensity=phase.flops / phase.bytes.moved,
        ratio=phase.elapsed / max(compute, memory),
    )


def merged_nodes(calls: Sequence[RecordedCall], flops: Sequence[int]) -> tuple[NodeTime, ...]:
    """The nodes of the first call with their median times over all; `flops` are the first call's, in its order."""
    by_node: dict[tuple[str, int, str], list[float]] = {}
    for call in calls:
        for node in call.nodes:
            by_node.setdefault(_identity(node), []).append(node.own_elapsed)
    return tuple(
        NodeTime(
            name=node.name,
            op_type=node.op_type,
            elapsed=median(by_node[_identity(node)]),
            flops=n_flops,
            output_bytes=0 if node.is_container else node.output_bytes,
        )
        for node, n_flops in zip(calls[0].nodes, flops, strict=True)
    )


def _identity(node: NodeEvent) -> tuple[str, int, str]:
    """What tells a node from all others: every graph counts its nodes from 0."""
    return node.container, node.index, node.name


def _bundle(bundle: BundleProfile, rates: MachineRates) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "precision": bundle.precision,
        "n_bytes": bundle.n_bytes,
        "phases": [_phase(phase, rates) for phase in bundle.phases],
    }


def _phase(phase: PhaseProfile, rates: MachineRates) -> dict[str, Any]:
    floor = floor_of(phase, rates)
    return {
        "name": phase.name,
        "n_past": phase.n_past,
        "n_new": phase.n_new,
        "elapsed": phase.elapsed,
        "elapsed_p90": phase.elapsed_p90,
        "n_repeats": phase.n_repeats,
        "recorded": phase.recorded,
        "fp32_flops": phase.fp32_flops,
        "int8_flops": phase.int8_flops,
        "uncounted": list(phase.uncounted),
        "bytes": {**asdict(phase.bytes), "moved": phase.bytes.moved},
        "floor": {**asdict(floor), "elapsed": floor.elapsed, "bound": floor.bound},
        "operators": [{**asdict(operator), "average": operator.average} for operator in phase.operators],
        "nodes": [asdict(node) for node in phase.nodes],
    }
