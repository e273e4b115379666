"""How long the JAX engine takes to start: the first process, which compiles, against those after it, which do not.

Why: compiling is what users of JAX wait for; a folder of compiled programs is to take that wait away.
How: each start is a process of its own with the same folder, empty before the first. It makes an engine of a made-up
model, encodes a window and decodes some tokens. Time is told apart: importing, making the engine, the first window, and
the same window once more, which is the work alone. The share is that of everything after importing.

    python benchmarks/jax_start.py [--model base] [--device cpu] [--tokens 20] [--starts 3]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()


def one_start(arguments: argparse.Namespace) -> dict[str, Any]:
    """What this process takes."""
    import numpy as np
    from gpu_jax import MODELS, PROMPT, MadeUp, rules

    from stagewhisper.engines.jax import JaxEngine

    imported = time.perf_counter()
    source = MadeUp(MODELS[arguments.model])
    engine = JaxEngine(source, device=arguments.device, cache_dir=Path(arguments.folder))
    made = time.perf_counter()
    times = []
    for _ in range(2):
        started = time.perf_counter()
        features = engine.encode(np.zeros((1, source.dims.n_mels, 3000), np.float32))
        engine.generate(features, np.array([PROMPT]), rules(arguments.tokens))
        times.append(time.perf_counter() - started)
    figures = {"import_s": imported - STARTED, "engine_s": made - imported, "first_s": times[0], "again_s": times[1]}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(one_start(arguments)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.starts):
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    totals = [row["engine_s"] + row["first_s"] for row in rows]
    share = round(min(totals[1:]) / totals[0], 3)
    print(f"a later start takes {share:.0%} of the first")
    from report import store

    store("jax_start", {**vars(arguments), "starts": rows, "folder_bytes": n_bytes, "share_of_the_first": share})


if __name__ == "__main__":
    main()
