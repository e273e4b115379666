"""What compiling costs, and what starting from the result costs: seconds, and the most memory at any time.

Why: who compiles on a small machine must not run out of memory, and who has compiled wants to start at once.
How: random weights of true shape in OpenAI's layout, stored as float32 and as float16 (as OpenAI's own are). Each
measurement is a process of its own, whose highest resident memory the system counts: `stagewhisper compile` into an
empty folder, with the comparison at the end that it always makes, and without it; then `stagewhisper.load` of the
bundle, several times. A process that does nothing but import what compiling needs is the floor.

    python benchmarks/compile.py [--shapes base small] [--recipes exact int8] [--repeats 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from logits import SHAPES, random_whisper
from report import store
from whisper.model import ModelDimensions

ALL_SHAPES = {**SHAPES, "small": ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12)}
DTYPES = {"float32": torch.float32, "float16": torch.float16}
LOAD = """
import json, sys, time
started = time.perf_counter()
import stagewhisper
imported = time.perf_counter()
model = stagewhisper.load(sys.argv[1], threads=2)
print(json.dumps({"import": imported - started, "load": time.perf_counter() - imported}))
"""
LAUNCH = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print("\\n", time.perf_counter() - started, usage.ru_maxrss, sep=" ")
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a process from a small one: the highest memory of a process begins with that of who started it."""
IMPORTS = "import stagewhisper.compiler.compile_graphs, stagewhisper.model"


@dataclass(frozen=True)
class Process:
    """One process from its start to its end."""

    seconds: float
    peak_mb: float
    output: str


def run(*arguments: str) -> Process:
    """Python with these arguments.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    output, _, usage = done.stdout.rstrip().rpartition("\n")
    seconds, peak_kb = usage.split()
    return Process(float(seconds), int(peak_kb) * 1024 / 1e6, output)


def write_checkpoint(shape: str, dtype: str, path: Path) -> float:
    """Random weights in OpenAI's layout; returns the file's size in MB."""
    weights = random_whisper(ALL_SHAPES[shape], seed=0).state_dict()
    content = {name: tensor.to(DTYPES[dtype]) for name, tensor in weights.items()}
    torch.save({"dims": vars(ALL_SHAPES[shape]), "model_state_dict": content}, path)
    return path.stat().st_size / 1e6


def compiling(checkpoint: Path, recipe: str, *, folder: Path, check: str, size_mb: float) -> dict[str, float]:
    """Seconds and memory of one compilation."""
    bundle = folder / f"{recipe}-{check}"
    done = run(
        "-m", "stagewhisper", "compile", str(checkpoint), "-o", str(bundle), "--recipe", recipe, "--check", check
    )
    files = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return {
        "seconds": done.seconds,
        "peak MB": done.peak_mb,
        "of the checkpoint": done.peak_mb / size_mb,
        "bundle MB": files / 1e6,
    }


def loading(bundle: Path, repeats: int) -> dict[str, float]:
    """Medians over several processes; the first one, which may read from the disk, is apart."""
    done = [run("-c", LOAD, str(bundle)) for _ in range(repeats + 1)]
    parts = [json.loads(one.output) for one in done]
    return {
        "first load": parts[0]["load"],
        **{name: statistics.median(part[name] for part in parts[1:]) for name in ("import", "load")},
        "slowest load": max(part["load"] for part in parts[1:]),
        "peak MB": max(one.peak_mb for one in done),
    }


def show(name: str, row: dict[str, Any]) -> None:
    print(f"{name:<22} {'  '.join(f'{key} {value:.2f}' for key, value in row.items())}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["base", "small"], choices=sorted(ALL_SHAPES))
    parser.add_argument("--recipes", nargs="+", default=["exact", "int8"])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder on a disk for checkpoints and bundles")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"importing alone, peak MB": run("-c", IMPORTS).peak_mb}
    for shape in arguments.shapes:
        for dtype in arguments.dtypes:
            with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
                figures[f"{shape} {dtype}"] = measured(shape, dtype, Path(folder), arguments)
    store("compile", figures)


def measured(shape: str, dtype: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one checkpoint."""
    checkpoint = folder / f"{shape}.pt"
    found: dict[str, Any] = {"checkpoint MB": write_checkpoint(shape, dtype, checkpoint)}
    print(f"\n{shape} in {dtype}, {found['checkpoint MB']:.0f} MB")
    for recipe in arguments.recipes:
        for check in ("end", "off"):
            name = f"{recipe}, check {check}"
            found[name] = compiling(checkpoint, recipe, folder=folder, check=check, size_mb=found["checkpoint MB"])
            show(name, found[name])
        found[f"{recipe}, load"] = loading(folder / f"{recipe}-off", arguments.repeats)
        show(f"{recipe}, load", found[f"{recipe}, load"])
    return found


if __name__ == "__main__":
    main()
