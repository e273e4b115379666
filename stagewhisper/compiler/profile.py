"""Where a compiled model's time goes: its encoder, prompt and steps, operator by operator, beside the machine's limits.

graphs ──► profile_calls ─► times of calls ───────────────┐
                        └─► times and shapes of nodes ────┼─► operations, bytes, time above the floor
machine ─► roofline ──────► products and reads per second ┘
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median

import numpy as np

from stagewhisper.bundle import FILES, Bundle
from stagewhisper.compiler.graph_facts import GraphFacts, graph_facts
from stagewhisper.compiler.node_flops import node_work
from stagewhisper.compiler.phase_bytes import phase_bytes
from stagewhisper.compiler.profile_calls import Subject, Timing, recorded, timed
from stagewhisper.compiler.profile_options import Phase, ProfileOptions, phases_of
from stagewhisper.compiler.profile_results import BundleProfile, PhaseProfile, Profile, merged_nodes
from stagewhisper.compiler.profiler_events import RecordedCall
from stagewhisper.compiler.roofline import best_rates, machine_rates
from stagewhisper.errors import OptionError


def profile(
    bundle: Bundle,
    other: Bundle | None = None,
    *,
    options: ProfileOptions | None = None,
    names: Sequence[str] | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> Profile:
    """The profile of `bundle`, and of `other` beside it.

    `names` are what to call them, their folders' names where it is left out; `on_phase` is told what is measured next.

    Raises:
        OptionError: an option is impossible, for one of the models or for all; or a model is compiled for GPUs.
        BundleError: ONNX Runtime refuses a graph, or a graph has an input that is not known.
    """
    options, bundles = options or ProfileOptions(), (bundle,) if other is None else (bundle, other)
    names = names or [each.path.name for each in bundles]
    for name, each in zip(names, bundles, strict=True):
        _refuse_gpu(name, each)
    phases = phases_of(options, n_text_ctx=min(each.dims.n_text_ctx for each in bundles))
    tell = on_phase or (lambda _: None)
    threads = options.threads or os.cpu_count() or 1
    tell("the machine")
    rates = machine_rates(threads=threads)
    encoder = _profiled(bundles, [phase for phase in phases if phase.graph == "encoder"], options, tell)
    decoder = _profiled(bundles, [phase for phase in phases if phase.graph == "decoder"], options, tell)
    tell("the machine")
    return Profile(
        bundles=tuple(
            BundleProfile(name, each.precision, _n_bytes(each), (*of_encoder, *of_decoder))
            for name, each, of_encoder, of_decoder in zip(names, bundles, encoder, decoder, strict=True)
        ),
        rates=best_rates(rates, machine_rates(threads=threads)),
        options=asdict(options),
    )


def _refuse_gpu(name: str, bundle: Bundle) -> None:
    if bundle.target == "gpu":
        raise OptionError(
            f"{name} is compiled in {bundle.precision} for GPUs; a profile measures on the CPU, which would run other "
            "operators. Compile it for the CPU: fp32, int8 or int4."
        )


def _profiled(
    bundles: Sequence[Bundle], phases: Sequence[Phase], options: ProfileOptions, tell: Callable[[str], None]
) -> list[list[PhaseProfile]]:
    """For each bundle its phases, all of which are of one graph."""
    paths = [bundle.path / f"{phases[0].graph}.onnx" for bundle in bundles]
    subjects = [
        Subject(path, bundle.dims.n_vocab, graph_facts(path)) for path, bundle in zip(paths, bundles, strict=True)
    ]
    timings = timed(subjects, phases, threads=options.threads, repeats=options.repeats, on_phase=tell)
    calls = recorded(subjects, phases, threads=options.threads, repeats=[len(row[0].times) for row in timings])
    return [
        [
            _phase_profile(phase, timings[row][place], calls[row][place], facts, n_text_ctx=bundle.dims.n_text_ctx)
            for row, phase in enumerate(phases)
        ]
        for place, (bundle, facts) in enumerate(zip(bundles, (subject.facts for subject in subjects), strict=True))
    ]


def _phase_profile(
    phase: Phase, timing: Timing, calls: Sequence[RecordedCall], facts: GraphFacts, *, n_text_ctx: int
) -> PhaseProfile:
    nodes = calls[0].nodes
    works = [node_work(node, n_total=phase.call.n_total, n_text_ctx=n_text_ctx, facts=facts.nodes) for node in nodes]
    return PhaseProfile(
        name=phase.name,
        n_past=phase.call.n_past,
        n_new=phase.call.n_new,
        elapsed=median(timing.times),
        elapsed_p90=float(np.quantile(timing.times, 0.9)),
        n_repeats=len(timing.times),
        recorded=median(call.elapsed for call in calls),
        nodes=merged_nodes(calls, [work.flops for work in works]),
        bytes=phase_bytes(
            phase.call,
            inputs=timing.inputs,
            outputs=timing.output_bytes,
            nodes=nodes,
            facts=facts,
        ),
        fp32_flops=sum(work.flops for work in works if not work.is_int8),
        int8_flops=sum(work.flops for work in works if work.is_int8),
        uncounted=tuple(sorted({node.op_type for node, work in zip(nodes, works, strict=True) if not work.is_known})),
        trace=sorted(calls, key=lambda call: call.elapsed)[len(calls) // 2],
    )


def _n_bytes(bundle: Bundle) -> int:
    return sum((bundle.path / name).stat().st_size for name in FILES)
