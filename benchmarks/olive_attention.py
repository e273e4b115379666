"""Olive on Whisper: what its GroupQueryAttention option makes of a Hugging Face folder. `gqa.py` runs this in a Python
that has Olive.

    attempt                 Olive's passes
    fp32, use_gqa           OptimumConversion ─► OrtTransformersOptimization(use_gqa), for the CPU
    fp16, use_gqa           the same with float16, for the CPU
    fp16, use_gqa, CUDA     the same, for a GPU: the graphs are made here, and need none until they run
    fp32, by operator       optimization_options.attention_op_type = GroupQueryAttention, for the CPU
    fp32                    without any of these, to see what there would be to replace

Of each attempt: what Olive printed, and the types of operators in every graph that it left, and whether ONNX Runtime
loads that graph.

    PYTHON benchmarks/olive_attention.py HUGGINGFACE FOLDER RESULT.json
"""

import contextlib
import io
import json
import logging
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

CPU, CUDA = ("cpu", "CPUExecutionProvider"), ("gpu", "CUDAExecutionProvider")
ATTEMPTS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "fp32": ({}, CPU),
    "fp32, use_gqa": ({"use_gqa": True}, CPU),
    "fp16, use_gqa": ({"use_gqa": True, "float16": True}, CPU),
    "fp16, use_gqa, CUDA": ({"use_gqa": True, "float16": True}, CUDA),
    "fp32, by operator": ({"optimization_options": {"attention_op_type": "GroupQueryAttention"}}, CPU),
}
COUNTED = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention", "Softmax")
MODEL_TYPE = "bart"
"""What ONNX Runtime's optimizer calls Whisper's kind of model."""
TASK = "automatic-speech-recognition-with-past"
"""Told to optimum, which cannot tell it from a local folder."""
LAST_LINES = 40
PATH = re.compile(r"/[\w./-]*/([\w.-]+)")
"""An absolute path; the group is its last part."""


def workflow(source: Path, folder: Path, options: dict[str, Any], target: tuple[str, str]) -> dict[str, Any]:
    """Olive's configuration of one attempt."""
    device, provider = target
    accelerator = {"device": device, "execution_providers": [provider]}
    return {
        "input_model": {"type": "HfModel", "model_path": str(source), "task": "automatic-speech-recognition"},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [accelerator]}},
        "passes": {
            "conversion": {"type": "OptimumConversion", "target_opset": 17, "extra_args": {"task": TASK}},
            "attention": {"type": "OrtTransformersOptimization", "model_type": MODEL_TYPE, **options},
        },
        "target": "here",
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "output"),
        "log_severity_level": 1,
    }


def attempt(source: Path, folder: Path, options: dict[str, Any], target: tuple[str, str]) -> dict[str, Any]:
    """What Olive did and printed."""
    from olive.workflows import run

    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    logging.getLogger("olive").addHandler(handler)
    found: dict[str, Any] = {"passed": options, "target": target[1]}
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            run(workflow(source, folder, options, target))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it raises is what we report
            found["raised"] = f"{type(error).__name__}: {error}"[:2000]
    logging.getLogger("olive").removeHandler(handler)
    lines = [line for line in printed.getvalue().splitlines() if line.strip()]
    graphs = sorted((folder / "output").rglob("*.onnx"))
    found["graphs"] = {str(path.relative_to(folder)): graph(path) for path in graphs}
    said = (line for line in lines if "use_gqa is" in line or "GroupQueryAttention" in line or "float16" in line)
    found["about attention"] = [line.split("] ")[-1] for line in said if str(folder) not in line]
    found["last lines"] = without_places(lines, folder)[-LAST_LINES:]
    return found


def without_places(lines: list[str], folder: Path) -> list[str]:
    """Without the lines of tracebacks that say where, and with other paths cut to their last part."""
    told = [line for line in lines if not line.startswith((" ", "Traceback"))]
    return [PATH.sub(r"\1", line.replace(str(folder), "FOLDER")) for line in told]


def graph(path: Path) -> dict[str, Any]:
    """How many attention operators a graph has, and whether ONNX Runtime takes it."""
    import onnx
    import onnxruntime

    model = onnx.load(path, load_external_data=False)
    counts = Counter(node.op_type for node in model.graph.node)
    found: dict[str, Any] = {"operators": len(model.graph.node), **{name: counts[name] for name in COUNTED}}
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found["loads"] = True
    except Exception as error:  # noqa: BLE001
        found["loads"] = PATH.sub(r"\1", f"{error}"[:500])
    return found


def main(source: str, folder: str, result: str) -> None:
    found = {}
    for name, (options, target) in ATTEMPTS.items():
        place = Path(folder) / name.replace(", ", "-").replace(" ", "-")
        place.mkdir(parents=True)
        found[name] = attempt(Path(source), place, options, target)
        print(name, json.dumps({key: found[name].get(key) for key in ("raised", "graphs")}), flush=True)
        Path(result).write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
