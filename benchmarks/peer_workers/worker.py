"""One program in a process of its own, which loads its model once and then measures what it is asked to.

    python worker.py PROGRAM MODEL --threads N

Answers each line of standard input with one line of JSON on its standard output:

    (start)      ─► {"loaded": seconds, "versions": {package: version}}     loading alone, without imports
    run CASE     ─► {"whole": seconds, "encoder": …, "step": …, "tokens": [[…], …]} or {"cannot": reason}
    memory       ─► {"peak_bytes": the most memory that was resident so far, files mapped into it included}

Whatever the program prints itself goes to standard error. It may use as many cores as it may have threads: some take
more for a part of their work, such as the spectrogram.
"""

import argparse
import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROGRAMS = {
    "stagewhisper": "drive_stagewhisper",
    "faster-whisper": "drive_faster_whisper",
    "whisper.cpp": "drive_whisper_cpp",
    "openvino": "drive_openvino",
    "onnx export": "drive_onnx_export",
    "openai-whisper": "drive_openai",
    "transformers": "drive_transformers",
}
"""Modules beside this one; each has `load(model, threads=…)`, which returns a `Program`, and its `PACKAGES`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("model", help="what the program loads, and options of its own behind a '+'")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # programs print what they like
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.threads :])
    module = importlib.import_module(PROGRAMS[arguments.program])
    started = time.perf_counter()
    program = module.load(arguments.model, threads=arguments.threads)
    loaded = time.perf_counter() - started
    versions = {package: version(package) for package in module.PACKAGES}
    answers.write(json.dumps({"loaded": loaded, "versions": versions}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(program, line.strip())) + "\n")


def answer(program: Any, question: str) -> dict[str, Any]:
    from measuring import CannotError, measure

    if question == "memory":
        return {"peak_bytes": peak_bytes()}
    verb, _, case = question.partition(" ")
    if verb != "run":
        raise ValueError(f"asked {question!r}; known are `run CASE` and `memory`")
    try:
        return measure(program, case)
    except CannotError as reason:
        return {"cannot": str(reason)}


def peak_bytes() -> int:
    """The most memory that was resident; not `ru_maxrss`, which a process inherits from the one that starts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmHWM; this benchmark needs Linux")


if __name__ == "__main__":
    main()
