"""What tests of the quantisation passes share: a graph with a tied embedding, and a real transcription."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

import stagewhisper
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.hub.known import embedded_path
from tests.compiler.graphs import SmallGraph, changed_bundle
from tests.sample import SAMPLE

N_STATE, N_VOCAB = 64, 1100
FIRST_TIME = 50_364
"""The token of 0.00 s."""


def tied_model() -> ir.Model:
    """Token embedding, an MLP, and the projection with the embedding's weight: `tokens` → `x`, `y`."""
    random = np.random.default_rng(5)

    def weight(name: str, *shape: int) -> ir.Value:
        return build.constant(name, (random.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32))

    build = SmallGraph({"tokens": (ir.DataType.INT64, ["n_seq", "n_new"])})
    embedding = build.constant("embedding", random.standard_normal((N_VOCAB, N_STATE)).astype(np.float32))
    x = rows = build.op("Gather", embedding, build.inputs["tokens"], axis=0)
    for name in ("mlp.0", "mlp.2"):
        x = build.op("MatMul", x, weight(f"{name}.weight.T", N_STATE, N_STATE))
        x = build.op("Gelu", build.op("Add", x, weight(f"{name}.bias", N_STATE)))
    logits = build.op("MatMul", x, build.op("Transpose", embedding, perm=[1, 0]))
    return build.model(x=rows, y=logits)


TOKENS = np.array([[0, 7, 1099], [3, 3, 12]])


def sample_tokens(path: Path, *edits: Callable[[ir.Graph], int]) -> tuple[list[int], list[int]]:
    """The tokens that nano hears in the sample recording after these passes, and how often each pass rewrote."""
    bundle, counts = changed_bundle(path, load_checkpoint(embedded_path()), *edits)
    transcript = stagewhisper.load(bundle.path).transcribe(SAMPLE, language="en", temperature=0)
    return [token for segment in transcript.segments for token in segment.tokens], counts


def n_bytes(model: ir.Model) -> int:
    """Bytes of the graph's constants."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def same_words(found: list[int], expected: list[int]) -> bool:
    """Whether the text is the same token for token, and timestamps are within 0.04 s: two of their steps."""
    if len(found) != len(expected):
        return False
    pairs = zip(found, expected, strict=True)
    return all(one == other or (min(one, other) >= FIRST_TIME and abs(one - other) <= 2) for one, other in pairs)
