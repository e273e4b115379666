"""The passes on Whisper graphs that nobody here wrote: operators, numbers and time before and after.

Why: a compiler that works on its own export only has learnt that export by heart.
How: torch.onnx.export of openai-whisper and of transformers through both exporters, and optimum's own export, with
random weights of tiny's shape (see `tests/compiler/foreign_graphs.py`). After each pass the numbers are compared with
those before it. Then the graph as it was exported and the last one run in turn, in ONNX Runtime with all of its own
optimisations on both sides; medians.

    part                what is timed
    encoder             one window
    decoder             a prompt of 4 tokens
    decoder_with_past   one token after 100 others; of one sequence, and of 5

    STAGEWHISPER_TEST_OPTIMUM=FOLDER python benchmarks/foreign_exports.py [--threads 1] [--rounds 15] [--only TEXT]

`tests/compiler/export_with_optimum.py` says how to fill FOLDER; without it optimum's export is left out.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from decoder_step import interleaved
from logits import SHAPES
from report import store

from stagewhisper.checkpoint import ModelDims
from stagewhisper.compiler.contract import Arrays, contract_of
from stagewhisper.compiler.equivalence import Case, Equivalence
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.pass_manager import run_passes
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.report import Report
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.compiler.sessions import bound_call, open_session, value_of
from stagewhisper.compiler.steps import PassStep

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.compiler.foreign_graphs import EXPORTS, ForeignGraph, foreign_graph

PASSES_FOR_FOREIGN = (
    PassStep("normalise_export"),
    PassStep("fold_constants"),
    PassStep("fuse_layer_norm"),
    PassStep("fuse_gelu"),
    PassStep("make_kv_cache_static"),
    PassStep("broadcast_tile"),
    PassStep("group_query_attention"),
    # Every sequence has keys and values of the audio of its own there.
    PassStep("fuse_attention", {"cross_attention": True}),
    PassStep("pack_qkv"),
    PassStep("fuse_slice_concat"),
    PassStep("absorb_attention_scale"),
    PassStep("eliminate_transposes"),
    PassStep("eliminate_common_subexpressions"),
    PassStep("remove_dead_nodes"),
)
LENGTHS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "encoder": {"1 window": {"n_seq": 1}},
    "decoder": {"prompt of 4": {"n_seq": 1, "n_new": 4, "n_past": 0}},
    "decoder_with_past": {
        "1 sequence": {"n_seq": 1, "n_new": 1, "n_past": 100},
        "5 sequences": {"n_seq": 5, "n_new": 1, "n_past": 100},
    },
}
ALLOWED = 1e-4
TYPES = ("Transpose", "Reshape", "MatMul", "Softmax", "Concat", "MultiHeadAttention", "GroupQueryAttention")


def measure(export: ForeignGraph, *, threads: int, rounds: int) -> dict[str, Any]:
    """All figures of one graph."""
    part = export.name.split("/")[1]
    cases = tuple(Case(name, export.inputs(**lengths)) for name, lengths in LENGTHS[part].items())
    model = export.model()
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("compared", "last")]
        for place in places:
            place.mkdir()
        report = run_passes(model, PASSES_FOR_FOREIGN, equivalence=Equivalence(cases, places[0]))
        before = open_session(export.path, threads=threads, is_alone=False)
        after = open_session(Scratch(places[1]).save(model), threads=threads, is_alone=False)
        milliseconds = {}
        for case in cases:
            changed = _adapted(case.inputs, report, model.graph)
            calls = {
                "before": (before, bound_call(before, _values(case.inputs), {})),
                "after": (after, bound_call(after, _values(changed), aliases_of(model.graph))),
            }
            times = interleaved(calls, rounds)
            milliseconds[case.name] = {side: statistics.median(found) for side, found in times.items()}
    return {
        "operators": [sum(report.op_types_before.values()), sum(report.op_types_after.values())],
        "by type": {name: [report.op_types_before.get(name, 0), report.op_types_after.get(name, 0)] for name in TYPES},
        "rewrites": {record.name: record.rewrites for record in report.passes if record.rewrites},
        "largest difference": report.difference,
        "ms": milliseconds,
    }


def _adapted(inputs: Arrays, report: Report, graph: Any) -> Arrays:
    for record in report.passes:
        if record.rewrites:
            inputs = contract_of(PASSES.get(record.name)).adapt_inputs(inputs, graph)
    return inputs


def _values(inputs: Arrays) -> dict[str, Any]:
    return {name: value_of(array) for name, array in inputs.items()}


def show(name: str, found: Mapping[str, Any]) -> None:
    counts = "  ".join(f"{kind} {old}→{new}" for kind, (old, new) in found["by type"].items() if old or new)
    old, new = found["operators"]
    print(f"{name:38} {old:4} → {new:4}  difference {found['largest difference'] or 0:.1e}  {counts}")
    for case, times in found["ms"].items():
        ratio = times["before"] / times["after"]
        print(f"{'':38} {case}: {times['before']:.2f} → {times['after']:.2f} ms, {ratio:.2f}×", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="tiny", choices=sorted(SHAPES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="what the names of graphs must contain")
    arguments = parser.parse_args()
    dims = ModelDims(**vars(SHAPES[arguments.shape]))
    figures: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in [name for name in EXPORTS if arguments.only in name]:
        try:
            export = foreign_graph(name, dims)
        except pytest.skip.Exception as reason:
            left_out[name] = str(reason)
            print(f"{name:38} left out: {reason}")
            continue
        figures[name] = measure(export, threads=arguments.threads, rounds=arguments.rounds)
        show(name, figures[name])
    worst = max((found["largest difference"] or 0.0 for found in figures.values()), default=0.0)
    print(f"largest difference {worst:.1e}, allowed {ALLOWED:.0e}: {'equal' if worst <= ALLOWED else 'DIFFERENT'}")
    about = {"shape": arguments.shape, "threads": arguments.threads, "rounds": arguments.rounds}
    store("foreign_exports", {**about, "graphs": figures, "left out": left_out, "largest difference": worst})


if __name__ == "__main__":
    main()
