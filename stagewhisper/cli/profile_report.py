"""A profile as tables for people: operators of every phase, bytes, and the distance to what the machine can do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stagewhisper.cli.text_table import table_lines

if TYPE_CHECKING:
    from stagewhisper.compiler.profile_results import BundleProfile, MachineRates, OperatorTime, PhaseProfile, Profile

_ABSENT = "–"
_LONGEST_NAME = 60


def profile_lines(profile: "Profile", *, n_nodes: int = 0) -> Iterator[str]:
    """The report; `n_nodes` is how many of each phase's slowest nodes are listed."""
    for bundle in profile.bundles:
        yield f"{bundle.name}: {bundle.precision}, {bundle.n_bytes / 1e6:.1f} MB on disk"
    yield _setting(profile)
    for phases in zip(*(bundle.phases for bundle in profile.bundles), strict=True):
        yield ""
        yield " → ".join([_phase_heading(phases[0]), *(_times(phase) for phase in phases[1:])]) + _ratio_told(phases)
        yield from table_lines(_single(phases[0]) if len(phases) == 1 else _side_by_side(phases[0], phases[1]))
        if n_nodes:
            for bundle, phase in zip(profile.bundles, phases, strict=True):
                yield ""
                yield f"{phase.name}, slowest nodes of {bundle.name}"
                yield from table_lines(_slowest(phase, n_nodes))
    yield ""
    yield "bytes of one call, MB"
    yield from table_lines(_bytes_rows(profile.bundles))
    yield ""
    yield "distance to the floor that the machine's rates set"
    yield from table_lines(_floor_rows(profile.bundles, profile.rates))
    yield from _notes(profile)


def _setting(profile: "Profile") -> str:
    options, rates = profile.options, profile.rates
    threads = "all physical cores" if options["threads"] is None else _counted(options["threads"], "thread")
    beams = "" if options["n_group"] == 1 else f" × {options['n_group']} beams"
    measured = (
        f"{rates.fp32 / 1e9:.1f} GFLOP/s fp32, {rates.int8 / 1e9:.1f} GOP/s int8, {rates.bandwidth / 1e9:.1f} GB/s"
    )
    return f"{_counted(options['n_audio'], 'window')}{beams}, {threads}; this machine: {measured}"


def _phase_heading(phase: "PhaseProfile") -> str:
    return f"{phase.name}: {_times(phase)}"


def _times(phase: "PhaseProfile") -> str:
    return f"{_ms(phase.elapsed)} ms (p90 {_ms(phase.elapsed_p90)}, {_counted(phase.n_repeats, 'call')})"


def _ratio_told(phases: "tuple[PhaseProfile, ...]") -> str:
    return "" if len(phases) == 1 else f": {phases[0].elapsed / phases[1].elapsed:.2f} × as fast"


def _single(phase: "PhaseProfile") -> list[tuple[str, ...]]:
    rows = [("operator", "count", "total ms", "share", "average ms", "GFLOP/s")]
    rows += [
        (
            operator.op_type,
            str(operator.count),
            _ms(operator.elapsed),
            f"{100 * operator.share:.1f} %",
            _ms(operator.average),
            f"{operator.flops / operator.elapsed / 1e9:.1f}" if operator.flops and operator.elapsed else _ABSENT,
        )
        for operator in phase.operators
    ]
    average = _ms(phase.operators_elapsed / len(phase.nodes))
    return [*rows, ("all", str(len(phase.nodes)), _ms(phase.operators_elapsed), "100.0 %", average, "")]


def _side_by_side(before: "PhaseProfile", after: "PhaseProfile") -> list[tuple[str, ...]]:
    first, second = ({operator.op_type: operator for operator in phase.operators} for phase in (before, after))
    longest = {
        op_type: max(operators[op_type].elapsed for operators in (first, second) if op_type in operators)
        for op_type in (*first, *second)
    }
    rows = [("operator", "count", "ms", "share", "→ count", "ms", "share", "before / after")]
    for op_type in sorted(longest, key=lambda op_type: (-longest[op_type], op_type)):
        one, two = first.get(op_type), second.get(op_type)
        ratio = _ratio(one.elapsed if one else None, two.elapsed if two else None)
        rows.append((op_type, *_cells(one), *_cells(two), ratio))
    total = _ratio(before.operators_elapsed, after.operators_elapsed)
    return [*rows, ("all", *_total_cells(before), *_total_cells(after), total)]


def _cells(operator: "OperatorTime | None") -> tuple[str, str, str]:
    if operator is None:
        return "0", _ABSENT, _ABSENT
    return str(operator.count), _ms(operator.elapsed), f"{100 * operator.share:.1f} %"


def _total_cells(phase: "PhaseProfile") -> tuple[str, str, str]:
    return str(len(phase.nodes)), _ms(phase.operators_elapsed), "100.0 %"


def _slowest(phase: "PhaseProfile", n_nodes: int) -> list[tuple[str, ...]]:
    slowest = sorted(phase.nodes, key=lambda node: -node.elapsed)[:n_nodes]
    return [
        ("node", "operator", "ms", "share"),
        *(
            (
                _shortened(node.name),
                node.op_type,
                _ms(node.elapsed),
                f"{100 * node.elapsed / phase.operators_elapsed:.1f} %" if phase.operators_elapsed else _ABSENT,
            )
            for node in slowest
        ),
    ]


def _bytes_rows(bundles: "tuple[BundleProfile, ...]") -> list[tuple[str, ...]]:
    columns = ("weights", "cross K/V", "self K/V read", "self K/V written", "other", "moved", "between operators")
    rows: list[tuple[str, ...]] = [("", *columns)]
    for bundle, phase in _by_phase(bundles):
        size = phase.bytes
        parts = (
            size.weights,
            size.cross_cache,
            size.self_cache_read,
            size.self_cache_written,
            size.other_inputs + size.other_outputs,
            size.moved,
            size.intermediate,
        )
        rows.append((_row_name(bundles, bundle, phase), *(f"{part / 1e6:.2f}" for part in parts)))
    return rows


def _floor_rows(bundles: "tuple[BundleProfile, ...]", rates: "MachineRates") -> list[tuple[str, ...]]:
    from stagewhisper.compiler.profile_results import floor_of

    rows: list[tuple[str, ...]] = [
        ("", "ms", "GFLOP", "GFLOP/s", "GB/s", "FLOP/byte", "floor ms", "set by", "time / floor")
    ]
    for bundle, phase in _by_phase(bundles):
        floor = floor_of(phase, rates)
        rows.append(
            (
                _row_name(bundles, bundle, phase),
                _ms(phase.elapsed),
                f"{phase.flops / 1e9:.3g}",
                f"{floor.flops_rate / 1e9:.1f}",
                f"{floor.bandwidth / 1e9:.2f}",
                f"{floor.intensity:.3g}",
                _ms(floor.elapsed),
                floor.bound,
                f"{floor.ratio:.2f}",
            )
        )
    return rows


def _notes(profile: "Profile") -> Iterator[str]:
    for bundle, phase in _by_phase(profile.bundles):
        if phase.uncounted:
            yield f"{bundle.name}, {phase.name}: operations not counted of {', '.join(phase.uncounted)}"


def _by_phase(bundles: "tuple[BundleProfile, ...]") -> "Iterator[tuple[BundleProfile, PhaseProfile]]":
    for phases in zip(*(bundle.phases for bundle in bundles), strict=True):
        yield from zip(bundles, phases, strict=True)


def _row_name(bundles: "tuple[BundleProfile, ...]", bundle: "BundleProfile", phase: "PhaseProfile") -> str:
    return phase.name if len(bundles) == 1 else f"{phase.name}, {'before' if bundle is bundles[0] else 'after'}"


def _ratio(before: float | None, after: float | None) -> str:
    return _ABSENT if before is None or not after else f"{before / after:.2f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _ms(elapsed: float) -> str:
    """Milliseconds, to the microsecond that the profiler counts in where they are few."""
    value = 1e3 * elapsed
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"
