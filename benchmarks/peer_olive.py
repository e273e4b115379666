"""Olive on Whisper: what its `use_gqa` gives, what it says, and the graphs that its passes for CPUs make.

Olive reads optimum's export, so that its graphs run in the same loop as optimum's. Every pass is Olive's own, run by
`olive run` with a configuration such as its example for Whisper had.

    attempt                     passes
    use_gqa                     OrtTransformersOptimization with use_gqa
    use_gqa, float16            the same with float16, which Olive asks for
    use_gqa, float16, GPU       the same for CUDA: nothing runs there, only the graph is made
    attention_op_type           OrtTransformersOptimization, which is told to use GroupQueryAttention
    int8                        OrtTransformersOptimization, then OnnxDynamicQuantization: its example's int8 for CPUs
"""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from peer_environments import python_of

STEP = "decoder_with_past_model.onnx"
GRAPHS = ("encoder_model.onnx", "decoder_model.onnx", STEP)
KERNELS = ("GroupQueryAttention", "MultiHeadAttention", "Attention", "DecoderMaskedMultiHeadAttention")
CPU, GPU = ("cpu", "CPUExecutionProvider"), ("gpu", "CUDAExecutionProvider")
QUANTISE = {"type": "OnnxDynamicQuantization", "op_types_to_quantize": ["MatMul", "Gemm", "Gather"]}


@dataclass(frozen=True)
class Attempt:
    """A configuration of Olive."""

    settings: dict[str, Any]
    """Of OrtTransformersOptimization."""
    target: tuple[str, str] = CPU
    quantised: bool = False


GQA: dict[str, Any] = {"optimization_options": {"attention_op_type": "GroupQueryAttention"}}
ATTEMPTS = {
    "use_gqa": Attempt({"use_gqa": True}),
    "use_gqa, float16": Attempt({"use_gqa": True, "float16": True}),
    "use_gqa, float16, GPU": Attempt({"use_gqa": True, "float16": True}, GPU),
    "attention_op_type": Attempt(GQA),
    "int8": Attempt({}, quantised=True),
}


def graphs_by_olive(optimum: Path, folder: Path, *, work: Path) -> None:
    """Write Olive's int8 form of optimum's three graphs, under the same names, into `folder`."""
    folder.mkdir(parents=True)
    for name in GRAPHS:
        made = run_olive(optimum / name, ATTEMPTS["int8"], folder / f"run-{name}", work=work)
        if made.graph is None:
            raise SystemExit(f"Olive made no graph of {optimum / name}:\n{made.printed[-3000:]}")
        onnx.save(onnx.load(made.graph), folder / name)


def attempts(optimum: Path, folder: Path, *, work: Path) -> dict[str, dict[str, Any]]:
    """What each attempt makes of the decoder's step, and all that Olive prints."""
    found = {}
    for name, attempt in ATTEMPTS.items():
        made = run_olive(optimum / STEP, attempt, folder / name.replace(", ", "-"), work=work)
        counts = Counter(node.op_type for node in onnx.load(made.graph).graph.node) if made.graph else Counter()
        found[name] = {
            "exit code": made.code,
            "graph": made.graph is not None,
            "attention operators": {kernel: counts[kernel] for kernel in KERNELS if counts[kernel]},
            "loads in ONNX Runtime": None if made.graph is None else loads(made.graph),
            "printed": made.printed,
        }
    return found


@dataclass(frozen=True)
class Made:
    """What one run of Olive left."""

    code: int
    graph: Path | None
    printed: str


def run_olive(graph: Path, attempt: Attempt, folder: Path, *, work: Path) -> Made:
    """`olive run` on one graph."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"
    config.write_text(json.dumps(configuration(graph, attempt, folder), indent=1), encoding="utf-8")
    olive = python_of("olive", work=work).with_name("olive")
    command = [str(olive), "run", "--config", str(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=folder)
    made = sorted((folder / "made").rglob("*.onnx"))
    return Made(done.returncode, made[0] if made else None, done.stdout.replace(str(folder), "…"))


def configuration(graph: Path, attempt: Attempt, folder: Path) -> dict[str, Any]:
    """What `olive run` reads."""
    device, provider = attempt.target
    fuse = {"type": "OrtTransformersOptimization", "model_type": "bart", "opt_level": 0, **heads(graph.parent)}
    passes = {"fuse": fuse | attempt.settings}
    if attempt.quantised:
        passes["quantise"] = QUANTISE
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(graph)},
        "systems": {
            "here": {"type": "LocalSystem", "accelerators": [{"device": device, "execution_providers": [provider]}]}
        },
        "passes": passes,
        "host": "here",
        "target": "here",
        "evaluate_input_model": False,
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "made"),
        "log_severity_level": 0,
    }


def heads(folder: Path) -> dict[str, int]:
    """Heads and width, from transformers' configuration beside the graphs."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {"num_heads": config["decoder_attention_heads"], "hidden_size": config["d_model"]}


def loads(graph: Path) -> str:
    """ "yes", or ONNX Runtime's complaint."""
    import onnxruntime

    try:
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  whatever it is, it is what the table tells
        return str(error).splitlines()[0]
    return "yes"
