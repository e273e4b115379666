"""GroupQueryAttention on Whisper: how many operators, the same transcripts, and what Olive's own switch makes of it.

Why: Olive offers to replace a model's attention by GroupQueryAttention; on Whisper that is said to do nothing.
How: one checkpoint, compiled by the recipe `exact` as it is, without the pass `group_query_attention`, and with
`fuse_attention(cached)` in its place, which gives MultiHeadAttention on the same buffers. Real recordings, evenly
spread over the manifest, are transcribed greedily by all three in turn: text, tokens and times must be equal. Olive
gets the same weights in transformers' layout, in a Python of its own (`olive_attention.py`), and random weights of
tiny's shape: optimum, which exports for it, refuses a model whose encoder and decoder differ in heads. What it printed
is kept.

    python benchmarks/gqa.py [--model nano] [--clips 40] [--olive PYTHON]

PYTHON is one that has Olive, made by `pip install olive-ai==0.13.0 "transformers==4.57.*" optimum-onnx onnxruntime`;
without it Olive's part is left out.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from peer_checkpoints import write_huggingface
from report import store
from step_variants import random_checkpoint

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.compile import compile_checkpoint
from stagewhisper.compiler.compiled_report import CompiledReport
from stagewhisper.compiler.recipe import Recipe, load_recipe
from stagewhisper.compiler.steps import PassStep
from stagewhisper.hub import find_model

AUDIO = Path(os.environ.get("STAGEWHISPER_TEST_AUDIO", Path(__file__).parents[2] / "shared" / "audio"))
LONGEST = 30.0
GQA, PLAIN, MHA = "GroupQueryAttention", "plain attention", "MultiHeadAttention"
OLIVE_SCRIPT = Path(__file__).with_name("olive_attention.py")


def recipes() -> dict[str, tuple[Recipe, tuple[str, ...]]]:
    """(recipe, passes switched off) of each form of the decoder's self-attention."""
    exact = load_recipe("exact")
    cached = tuple(
        replace(step, step=PassStep("fuse_attention", {"cached": True}))
        if step.step.name == "group_query_attention"
        else step
        for step in exact.steps
    )
    return {
        GQA: (exact, ()),
        PLAIN: (exact, ("group_query_attention",)),
        MHA: (replace(exact, name="cached", steps=cached), ()),
    }


def compiled(checkpoint: Checkpoint, folder: Path) -> dict[str, CompiledReport]:
    """The three bundles, compared with the checkpoint's numbers."""
    return {
        name: compile_checkpoint(
            checkpoint, folder / name.replace(" ", "-"), source="benchmark", recipe=recipe, disabled=disabled
        )
        for name, (recipe, disabled) in recipes().items()
    }


def recordings(n_clips: int) -> list[Path]:
    """Of up to one window, evenly spread over the manifest."""
    lines = (AUDIO / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    short = [AUDIO / entry["audio"] for entry in entries if entry["duration_s"] <= LONGEST]
    return short[:: max(1, len(short) // n_clips)][:n_clips]


def transcripts(models: Mapping[str, stagewhisper.Model], clips: list[Path]) -> dict[str, Any]:
    """How many clips all agree in, and the seconds that each took in total; all take turns at every clip."""
    seconds = dict.fromkeys(models, 0.0)
    different: list[str] = []
    n_tokens = 0
    for clip in clips:
        samples, found = load_audio(clip), {}
        for name, model in models.items():
            started = time.perf_counter()
            transcript = model.transcribe(samples, language="en", temperature=0.0)
            seconds[name] += time.perf_counter() - started
            found[name] = [(one.start, one.end, tuple(one.tokens), one.text) for one in transcript.segments]
        n_tokens += sum(len(segment[2]) for segment in found[GQA])
        if any(segments != found[GQA] for segments in found.values()):
            different.append(str(clip.relative_to(AUDIO)))
    return {"clips": len(clips), "equal": len(clips) - len(different), "different": different,
            "tokens": n_tokens, "seconds": seconds}  # fmt: skip


def olive(python: Path | None, checkpoints: Mapping[str, Checkpoint], folder: Path) -> dict[str, Any]:
    """What Olive made of each checkpoint, and what it printed."""
    if python is None:
        return {"left out": "no --olive"}
    return {name: _olive(python, checkpoint, folder / f"olive-{name}") for name, checkpoint in checkpoints.items()}


def _olive(python: Path, checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    write_huggingface(checkpoint, folder / "huggingface")
    result = folder / "olive.json"
    command = [str(python), str(OLIVE_SCRIPT), str(folder / "huggingface"), str(folder / "made"), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    return {"attempts": found, "exit code": done.returncode, "last lines": done.stderr.splitlines()[-5:]}


def show_olive(found: Mapping[str, Any]) -> None:
    for model, tried in found.items():
        for name, one in tried["attempts"].items() if isinstance(tried, dict) else ():
            graphs = {path: (row[GQA], row[MHA], row["loads"]) for path, row in one["graphs"].items()}
            print(f"Olive on {model}, {name}: (GQA, MHA, loads) {graphs}, {one['about attention'][-3:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--olive", type=Path, metavar="PYTHON")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(find_model(arguments.model))
    with tempfile.TemporaryDirectory() as folder:
        reports = compiled(checkpoint, Path(folder))
        counts = {name: dict(report.graphs["decoder"].op_types_after) for name, report in reports.items()}
        models = {
            name: stagewhisper.load(report.bundle.path, threads=arguments.threads) for name, report in reports.items()
        }
        heard = transcripts(models, recordings(arguments.clips))
        tiny = random_checkpoint("tiny", Path(folder))
        theirs = olive(arguments.olive, {arguments.model: checkpoint, "tiny": tiny}, Path(folder))
    n_gqa, n_layers = counts[GQA].get(GQA, 0), checkpoint.dims.n_text_layer
    print(
        f"GroupQueryAttention nodes: {n_gqa} of {n_layers} decoder layers; without the pass {counts[PLAIN].get(GQA, 0)}"
    )
    print(f"transcripts equal: {heard['equal']} of {heard['clips']}, {heard['tokens']} tokens {heard['different']}")
    print("seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in heard["seconds"].items()))
    show_olive(theirs)
    figures = {"model": arguments.model, "decoder layers": n_layers, "gqa nodes": n_gqa, "operators": counts}
    store("gqa", {**figures, "transcripts": heard, "olive": theirs})


if __name__ == "__main__":
    main()
