"""What the float32 passes make of a decoder step: time, operators, and how it grows with the text.

Why: a step is run once for every token, and an export as it comes copies keys and values around in each.
How: random weights of true shape, five beams of one window. The plain export and what the recipe `exact` makes of it
take steps in turn in one process that is bound to as many cores as there are threads; medians. The same step with the
same keys and values goes to all: its logits must agree within 1e-4.

    gains       each pass on the plain export alone, and the passes one after the other, all in turn
    positions   the step after 10 to 440 tokens, and how much of what it grows by the bytes of self-attention's keys
                and values explain, at the bandwidth that was measured in the same run

    python benchmarks/decoder_step.py [--shape base] [--threads 1 2] [--rounds 41]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from logits import SHAPES
from report import store
from step_variants import Step, Variant, long_step, open_variant, random_checkpoint, shortened

from stagewhisper.checkpoint import Checkpoint, ModelDims
from stagewhisper.compiler.recipe import load_recipe
from stagewhisper.compiler.roofline import machine_rates

N_BEAMS, POSITIONS = 5, (10, 50, 100, 200, 300, 440)
LARGEST_DIFFERENCE, WANTED_GAIN, WANTED_TRANSPOSES = 1e-4, 1.70, 0.8
COPIES = ("Tile", "Expand", "Concat")
"""What may not read keys and values any more."""
PLAIN, EXACT = "plain export", "all passes"


def interleaved(calls: Mapping[str, tuple[ort.InferenceSession, ort.IOBinding]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call in every round; one round before them warms up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, (session, binding) in calls.items():
            started = time.perf_counter()
            session.run_with_iobinding(binding)
            if turn > 0:
                found[name].append(1000 * (time.perf_counter() - started))
    return found


def timed(variants: Sequence[Variant], step: Step, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step by name."""
    calls = {variant.name: (variant.session, variant.call(step)) for variant in variants}
    return {name: statistics.median(times) for name, times in interleaved(calls, rounds).items()}


def variants_of(checkpoint: Checkpoint, folder: Path, threads: int) -> tuple[list[Variant], list[Variant]]:
    """(chain, alone): the first of the chain is the plain export, the last has all passes."""
    passes = load_recipe("exact").steps_for("decoder")
    chain = [open_variant(PLAIN, checkpoint, (), folder=folder / "plain", threads=threads)]
    for index, step in enumerate(passes):
        last = index == len(passes) - 1
        name = EXACT if last else f"… {step.name}"
        here = folder / f"chain-{index}"
        chain.append(open_variant(name, checkpoint, passes[: index + 1], folder=here, threads=threads))
    alone = [
        open_variant(f"only {step.name}", checkpoint, [step], folder=folder / f"alone-{index}", threads=threads)
        for index, step in enumerate(passes)
    ]
    return chain, alone


def gains(chain: Sequence[Variant], alone: Sequence[Variant], step: Step, rounds: int) -> list[dict[str, Any]]:
    """One row a pass: its gain on the plain export, on the graph before it, and all so far."""
    moving = [variant for variant in (*chain, *alone) if variant.rewrites or variant.name in (PLAIN, EXACT)]
    milliseconds = timed(moving, step, rounds)
    rows, before = [], milliseconds[PLAIN]
    for single, cumulative in zip(alone, chain[1:], strict=True):
        now = milliseconds.get(cumulative.name, before)
        by_itself = milliseconds.get(single.name)
        rows.append(
            {
                "pass": single.name.removeprefix("only "),
                "rewrites alone": single.rewrites,
                "rewrites in the chain": cumulative.rewrites,
                "ms alone": by_itself,
                "gain alone": milliseconds[PLAIN] / by_itself if by_itself else None,
                "ms in the chain": now,
                "gain in the chain": before / now if cumulative.rewrites else None,
                "gain so far": milliseconds[PLAIN] / now,
                "operators": sum(cumulative.op_types.values()),
                "transposes": cumulative.op_types.get("Transpose", 0),
            }
        )
        before = now
    return rows


def growth(
    plain: Variant, exact: Variant, step: Step, dims: ModelDims, *, rounds: int, bandwidth: float
) -> list[dict[str, float | None]]:
    """One row a position: the step before and after, and what the bytes of self-attention explain."""
    rows: list[dict[str, float | None]] = []
    position_bytes = 2 * dims.n_text_layer * N_BEAMS * dims.n_text_state * 4
    for n_past in POSITIONS:
        found = timed([plain, exact], shortened(step, n_past), rounds)
        grown_bytes = position_bytes * (n_past - POSITIONS[0])
        by_bytes = 1000 * grown_bytes / bandwidth
        first = rows[0] if rows else {"plain ms": found[PLAIN], "exact ms": found[EXACT]}
        grown = {side: found[name] - (first[f"{side} ms"] or 0) for side, name in (("plain", PLAIN), ("exact", EXACT))}
        rows.append(
            {
                "position": n_past,
                "plain ms": found[PLAIN],
                "exact ms": found[EXACT],
                "plain grown ms": grown["plain"],
                "exact grown ms": grown["exact"],
                "MB of keys and values more": grown_bytes / 1e6,
                "ms that these bytes take": by_bytes,
                "share explained": by_bytes / grown["exact"] if rows and grown["exact"] > 0 else None,
            }
        )
    return rows


def operators(plain: Variant, exact: Variant) -> dict[str, Any]:
    """Counts before and after, and what became of the copies and the Transposes."""
    before, after = plain.op_types, exact.op_types
    counted = {name: [before.get(name, 0), after.get(name, 0)] for name in sorted({*before, *after})}
    down = 1 - after.get("Transpose", 0) / before["Transpose"]
    return {
        "operators": [sum(before.values()), sum(after.values())],
        "by type": counted,
        "readers of keys and values": {"before": plain.reads_cache, "after": exact.reads_cache},
        "transposes down": down,
        "no copies of keys and values": not any(name in exact.reads_cache for name in COPIES),
    }


def measure(checkpoint: Checkpoint, folder: Path, *, threads: int, rounds: int) -> dict[str, Any]:
    """All figures with this many threads."""
    os.sched_setaffinity(0, sorted(_CORES)[:threads])
    step = long_step(checkpoint, n_beams=N_BEAMS, n_past=POSITIONS[-1], folder=folder, threads=threads)
    chain, alone = variants_of(checkpoint, folder, threads)
    plain, exact = chain[0], chain[-1]
    expected = plain.logits(step)
    difference = {one.name: float(np.abs(one.logits(step) - expected).max()) for one in (*chain[1:], *alone)}
    milliseconds = timed([plain, exact], step, rounds)
    bandwidth = machine_rates(threads=threads, repeats=5).bandwidth
    return {
        "ms": milliseconds,
        "gain": milliseconds[PLAIN] / milliseconds[EXACT],
        "largest difference of logits": max(difference.values()),
        "differences": difference,
        **operators(plain, exact),
        "gains": gains(chain, alone, step, max(rounds // 3, 3)),
        "positions": growth(plain, exact, step, checkpoint.dims, rounds=max(rounds // 2, 3), bandwidth=bandwidth),
        "bytes per second": bandwidth,
    }


_CORES = os.sched_getaffinity(0)


def show(found: Mapping[str, Any], *, threads: int) -> None:
    print(f"\n{threads} thread(s): {found['ms'][PLAIN]:.2f} → {found['ms'][EXACT]:.2f} ms, {found['gain']:.2f}×")
    before, after = found["operators"]
    print(
        f"operators {before} → {after}, Transposes {' → '.join(map(str, found['by type']['Transpose']))} "
        f"({100 * found['transposes down']:.0f} % fewer), logits within {found['largest difference of logits']:.1e}"
    )
    print(f"{'pass':34} {'alone':>8} {'gain':>6} {'chain':>8} {'gain':>6} {'so far':>7} {'ops':>4}")
    for row in found["gains"]:
        print(
            f"{row['pass']:34} {_number(row['ms alone'], 8)} {_number(row['gain alone'], 6)} "
            f"{_number(row['ms in the chain'], 8)} {_number(row['gain in the chain'], 6)} "
            f"{_number(row['gain so far'], 7)} {row['operators']:4}"
        )
    print(f"{'position':>8} {'plain ms':>9} {'exact ms':>9} {'grown':>7} {'by bytes':>9} {'share':>6}")
    for row in found["positions"]:
        print(
            f"{row['position']:8} {row['plain ms']:9.2f} {row['exact ms']:9.2f} {row['exact grown ms']:7.2f} "
            f"{row['ms that these bytes take']:9.2f} {_number(row['share explained'], 6)}"
        )


def _number(value: float | None, width: int) -> str:
    return f"{'–':>{width}}" if value is None else f"{value:{width}.2f}"


def check(found: Mapping[str, Any]) -> list[str]:
    """What falls short of what was asked for."""
    wanted = {
        f"at least {WANTED_GAIN}× faster": found["gain"] >= WANTED_GAIN,
        f"logits within {LARGEST_DIFFERENCE}": found["largest difference of logits"] <= LARGEST_DIFFERENCE,
        f"{WANTED_TRANSPOSES:.0%} fewer Transposes": found["transposes down"] >= WANTED_TRANSPOSES,
        "no Tile, Expand or Concat of keys and values": found["no copies of keys and values"],
    }
    return [name for name, is_met in wanted.items() if not is_met]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="base", choices=sorted(SHAPES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=41)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"shape": arguments.shape, "beams": N_BEAMS, "position": POSITIONS[-1]}
    for threads in arguments.threads:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = random_checkpoint(arguments.shape, Path(folder))
            found = measure(checkpoint, Path(folder), threads=threads, rounds=arguments.rounds)
        show(found, threads=threads)
        print(f"missed: {', '.join(check(found)) or 'nothing'}")
        figures[f"{threads} threads"] = found
    store("decoder_step", figures)


if __name__ == "__main__":
    main()
