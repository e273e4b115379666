"""Olive's int8 form of Whisper for CPUs: optimum's three graphs through its passes.

    graph ─► OrtTransformersOptimization (model_type "bart") ─► OnnxDynamicQuantization ─► graph

These are the passes of Olive's own example for Whisper on a CPU, run by `olive run`, one graph at a time. What its
option `use_gqa` gives is measured in `gqa.py`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
from peer_environments import python_of

GRAPHS = ("encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx")


def graphs_by_olive(optimum: Path, folder: Path, *, work: Path) -> None:
    """Write Olive's form of optimum's graphs, under the same names, into `folder`, with all that Olive printed."""
    for name in GRAPHS:
        runs = folder / "runs" / name
        runs.mkdir(parents=True)
        onnx.save(onnx.load(run_olive(optimum / name, runs, work=work)), folder / name)


def run_olive(graph: Path, folder: Path, *, work: Path) -> Path:
    """The graph that Olive made of `graph`; what it printed is in `olive.log` in `folder`."""
    config, log = folder / "config.json", folder / "olive.log"
    config.write_text(json.dumps(configuration(graph, folder), indent=1), encoding="utf-8")
    olive = python_of("olive", work=work).with_name("olive")
    with log.open("wb") as file:
        command = [str(olive), "run", "--config", str(config)]
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False, cwd=folder)
    made = sorted((folder / "made").rglob("*.onnx"))
    if not made:
        sys.exit(f"Olive made nothing of {graph}; {log} tells why.")
    return made[0]


def configuration(graph: Path, folder: Path) -> dict[str, Any]:
    """What `olive run` reads."""
    cpu = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    fuse = {"type": "OrtTransformersOptimization", "model_type": "bart", "opt_level": 0, **heads(graph.parent)}
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(graph)},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [cpu]}},
        "passes": {"fuse": fuse, "quantise": {"type": "OnnxDynamicQuantization"}},
        "host": "here",
        "target": "here",
        "evaluate_input_model": False,
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "made"),
        "log_severity_level": 1,
    }


def heads(folder: Path) -> dict[str, int]:
    """Heads and width, from transformers' configuration beside the graphs."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {"num_heads": config["decoder_attention_heads"], "hidden_size": config["d_model"]}
