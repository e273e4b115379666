"""Our compiled bundles against every other Whisper that runs on a CPU: the same weights, audio, decoding and threads.

Why: an optimiser is worth what it gains over the best that is there already.
How: random weights of the true shapes, whose special tokens are never probable, so that everybody decodes exactly 100
tokens (`peer_models.py`). Every program runs in a process of its own, loads its model once and is measured in turn
with the others, one at a time, after a warm-up round (`peer_rounds.py`, `peer_workers/`); medians of all rounds. Each
peer is driven as its documents advise, with the same number of threads on as many cores; what it cannot do is told with
its reason. OpenVINO computes in bfloat16 where the processor can, which is its default.

    encoder            log-Mel of one window → what its encoder hands on; ours: all cross-attention keys and values, too
    step, batch 1, 8   one token for each of 1 or 8 sequences, between the 10th and the 100th
    window             samples → 100 tokens, greedily: mel, encoder, prompt and steps; the same with 5 beams
    windows/s          of eight windows side by side
    memory             the most that was resident (files mapped into memory included, nothing taken off) in a fresh
                       process that loads the model and transcribes one window
    start              from starting that process to a loaded model, imports included, with files in the system's cache
    disk               the files that it loads
    roofline           how far our encoder and steps are from what the machine can do (`peer_roofline.py`)

A peer's Python and its form of the model are made when they are missing, in the folder `--work`. What was measured for
a shape and a number of threads is kept there too, and is not measured again unless `--again` is given.

    python benchmarks/compiled_peers.py --work FOLDER [--shapes tiny base small] [--threads 1 2] [--rounds 5]
                                        [--peers NAME …] [--cases window "beam 5" "batch 8"] [--again]
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from peer_environments import python_of
from peer_figures import EXACT, INT8, rows
from peer_list import PEERS
from peer_models import TRUE_SHAPES, bytes_on_disk, write_source
from peer_process import Command
from peer_roofline import lines, remainders
from peer_rounds import measured
from peer_table import table
from report import store

CASES = ("window", "beam 5", "batch 8")


def main() -> None:
    arguments = parsed()
    for shape in arguments.shapes:
        for threads in arguments.threads:
            part = arguments.work / "results" / f"{shape}-{threads}.json"
            if arguments.again or not is_measured(part, arguments):
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(measure(shape, threads, arguments), indent=1) + "\n", encoding="utf-8")
            print(f"\n{shape}, {threads} {'thread' if threads == 1 else 'threads'}")
            found = json.loads(part.read_text(encoding="utf-8"))
            print("\n".join([table(found["rows"]), *lines(found["roofline"])]), flush=True)
    store("compiled_peers", {"parts": everything_measured(arguments.work / "results")})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for Pythons, models and results of parts")
    parser.add_argument("--shapes", nargs="+", choices=TRUE_SHAPES, default=list(TRUE_SHAPES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--again", action="store_true", help="measure what has been measured already")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    return arguments


def is_measured(part: Path, arguments: argparse.Namespace) -> bool:
    """Whether an earlier run measured all that is asked for, as often or more often."""
    if not part.exists():
        return False
    found = json.loads(part.read_text(encoding="utf-8"))
    return (
        found["rounds"] >= arguments.rounds
        and set(arguments.peers) <= set(found["rows"])
        and set(arguments.cases) <= set(found["cases"])
    )


def measure(shape: str, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All asked peers in one run."""
    started = time.time()
    source = write_source(shape, work=arguments.work)
    logs = arguments.work / "logs"
    logs.mkdir(exist_ok=True)
    commands, sizes = {}, {}
    for name in arguments.peers:
        peer = PEERS[name]
        form = peer.form(source)
        sizes[name] = bytes_on_disk(form)
        python = python_of(peer.environment, work=arguments.work)
        commands[name] = Command(python, peer.program, form.model, threads, logs / f"{name}.log")

    def say(what: str) -> None:
        print(f"{time.time() - started:7.0f} s  {shape}, {threads} threads: {what}", flush=True)

    load = os.getloadavg()[0]
    records = measured(commands, cases=arguments.cases, n_rounds=arguments.rounds, say=say)
    ours = {name: remainders(commands[name].model, threads=threads) for name in (EXACT, INT8) if name in commands}
    return {
        "shape": shape,
        "threads": threads,
        "rounds": arguments.rounds,
        "cases": arguments.cases,
        "load before": load,
        "took": time.time() - started,
        "versions": {name: record.starts[0]["versions"] for name, record in records.items() if record.starts},
        "rows": rows(records, sizes),
        "roofline": ours,
    }


def everything_measured(folder: Path) -> list[dict[str, Any]]:
    """Parts of this run and of earlier ones, the smallest shape first."""
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(parts, key=lambda part: (list(TRUE_SHAPES).index(part["shape"]), part["threads"]))


if __name__ == "__main__":
    main()
