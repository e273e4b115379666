"""Attention written out in the ways that exporters write it, and whole decoders taken through a prompt and steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.equivalence import GraphRunner
from stagewhisper.compiler.export import export_encoder
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.scratch import Scratch
from tests.compiler.graphs import SmallGraph
from tests.logits import random_mel

N_HEAD = 2


@dataclass(frozen=True)
class Attention:
    """One attention of q, k and v rows [n_seq, n_new, n_state], and how it is written."""

    scaled: str = "queries"
    """Or "queries and keys", "rows", "scores", "not"."""
    mask: str = "causal"
    """Or "none", "window" (the last three keys only), "input", "soft" (numbers that hide nothing)."""
    cached: bool = True
    head_dim: int = 8
    float16: bool = False
    weights_asked: bool = False
    """The softmax's output is an output of the graph."""
    guarded: bool = False
    """Rows of NaN become zeros, as torch writes it."""
    flat_turn: bool = False
    """Keys are turned as torch does it: flattened to three axes and back."""
    cut_wrongly: bool = False
    """Heads take every second channel instead of neighbours."""
    n_new: int | str = "n_new"

    def model(self) -> ir.Model:
        """The graph: outputs `y` and, if cached, `present_k` and `present_v`."""
        n_state = N_HEAD * self.head_dim
        dtype = ir.DataType.FLOAT16 if self.float16 else ir.DataType.FLOAT
        past: list[int | str] = ["n_seq", N_HEAD, "n_past", self.head_dim]
        inputs: dict[str, tuple[ir.DataType, list[int | str]]] = {"tokens": (ir.DataType.INT64, ["n_seq", self.n_new])}
        inputs |= {name: (dtype, ["n_seq", self.n_new, n_state]) for name in ("q", "k", "v")}
        inputs |= {name: (dtype, past) for name in ("past_k", "past_v") if self.cached}
        inputs |= {"mask": (dtype, ["n_new", "n_total"])} if self.mask == "input" else {}
        graph = SmallGraph(inputs)
        return graph.model(**_Writer(self, graph).outputs())

    def inputs(self, *, n_seq: int = 3, n_new: int = 1, n_past: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
        """Random numbers of the wanted lengths."""
        generator, dtype = np.random.default_rng(seed), np.float16 if self.float16 else np.float32
        shapes = dict.fromkeys(("q", "k", "v"), (n_seq, n_new, N_HEAD * self.head_dim))
        past = (n_seq, N_HEAD, n_past, self.head_dim)
        arrays = {
            name: generator.standard_normal(shape).astype(dtype)
            for name, shape in (shapes | (dict.fromkeys(("past_k", "past_v"), past) if self.cached else {})).items()
        }
        if self.mask == "input":
            arrays["mask"] = np.zeros((n_new, n_past + n_new), dtype)
        return {"tokens": np.zeros((n_seq, n_new), np.int64), **arrays}


class _Writer:
    """Writes one attention into a graph."""

    def __init__(self, form: Attention, graph: SmallGraph) -> None:
        self.form, self.graph, self.op = form, graph, graph.op

    def outputs(self) -> dict[str, ir.Value]:
        form, inputs = self.form, self.graph.inputs
        numpy_type = np.float16 if form.float16 else np.float32
        root = self.number("root", form.head_dim**-0.25, numpy_type)
        scale = self.number("scale", form.head_dim**-0.5, numpy_type)
        q = self.op("Mul", inputs["q"], scale) if form.scaled == "rows" else inputs["q"]
        q, k, v = (self.heads(name, rows) for name, rows in (("q", q), ("k", inputs["k"]), ("v", inputs["v"])))
        outputs = {}
        if form.cached:
            k, v = (self.op("Concat", inputs[f"past_{name}"], new, axis=2) for name, new in (("k", k), ("v", v)))
            outputs = {"present_k": k, "present_v": v}
        if form.scaled == "queries":
            q = self.op("Mul", scale, q)
        if form.scaled == "queries and keys":
            q, k = self.op("Mul", q, root), self.op("Mul", k, root)
        scores = self.op("MatMul", q, self.turned(k))
        if form.scaled == "scores":
            scores = self.op("Div", scores, self.number("divisor", form.head_dim**0.5, numpy_type))
        if form.mask != "none":
            scores = self.op("Add", self.mask(numpy_type), scores)
        weights = self.op("Softmax", scores, axis=-1)
        outputs |= {"weights": weights} if form.weights_asked else {}
        if form.guarded:
            weights = self.op("Where", self.op("IsNaN", weights), self.number("zero", 0, numpy_type), weights)
        merged = self.op("Transpose", self.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        y = self.op("Reshape", merged, self.numbers("merged", [0, 0, -1]))
        for value in (y, *outputs.values()):
            value.type = ir.TensorType(ir.DataType.FLOAT16 if form.float16 else ir.DataType.FLOAT)
        y.shape = ir.Shape(["n_seq", form.n_new, N_HEAD * form.head_dim])
        for name, value in outputs.items():
            value.shape = ir.Shape(["n_seq", N_HEAD, *((form.n_new,) if name == "weights" else ()), "n_total"])
            if name != "weights":
                value.shape = ir.Shape(["n_seq", N_HEAD, "n_total", form.head_dim])
        return {"y": y, **outputs}

    def number(self, name: str, value: float, dtype: type[np.generic]) -> ir.Value:
        return self.graph.constant(name, np.asarray(value, dtype))

    def numbers(self, name: str, values: Sequence[int]) -> ir.Value:
        return self.graph.constant(name, np.asarray(values))

    def heads(self, name: str, rows: ir.Value) -> ir.Value:
        if self.form.cut_wrongly and name == "q":
            split = self.op("Reshape", rows, self.numbers(f"{name}_heads", [0, 0, -1, N_HEAD]))
            return self.op("Transpose", split, perm=[0, 3, 1, 2])
        split = self.op("Reshape", rows, self.numbers(f"{name}_heads", [0, 0, N_HEAD, -1]))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def turned(self, k: ir.Value) -> ir.Value:
        if not self.form.flat_turn:
            return self.op("Transpose", k, perm=[0, 1, 3, 2])
        shape = self.op("Shape", k)
        first, last, before = (
            self.op("Gather", shape, self.numbers(f"axes{axes}", axes), axis=0) for axes in ([0, 1], [3], [2])
        )
        flat = self.op("Reshape", k, self.op("Concat", self.numbers("flat", [-1]), before, last, axis=0))
        turned = self.op("Transpose", flat, perm=[0, 2, 1])
        return self.op("Reshape", turned, self.op("Concat", first, last, before, axis=0))

    def mask(self, dtype: type[np.generic]) -> ir.Value:
        if self.form.mask == "input":
            return self.graph.inputs["mask"]
        n_new = self.length(self.graph.inputs["tokens"], 1)
        n_past = self.length(self.graph.inputs["past_k"], 2) if self.form.cached else self.numbers("none", 0)  # type: ignore[arg-type]
        one, n_total = self.numbers("one", 1), self.op("Add", n_past, n_new)  # type: ignore[arg-type]
        rows = self.op("Unsqueeze", self.op("Range", n_past, n_total, one), self.numbers("row_axis", [1]))
        columns = self.op("Range", self.numbers("first", 0), n_total, one)  # type: ignore[arg-type]
        visible = self.op("LessOrEqual", columns, rows)
        if self.form.mask == "window":
            near = self.op("Greater", columns, self.op("Sub", rows, self.numbers("window", 3)))  # type: ignore[arg-type]
            visible = self.op("And", visible, near)
        hidden = -1.0 if self.form.mask == "soft" else float("-inf")
        return self.op("Where", visible, self.number("seen", 0, dtype), self.number("hidden", hidden, dtype))

    def length(self, value: ir.Value, axis: int) -> ir.Value:
        return self.op("Gather", self.op("Shape", value), self.numbers(f"axis{axis}", axis), axis=0)  # type: ignore[arg-type]


Calls = tuple[int, ...]


def cross_kv(checkpoint: Checkpoint, folder: Path, *, n_audio: int) -> dict[str, np.ndarray]:
    """The encoder's cross-attention keys and values for made-up windows."""
    outputs = _runner(export_encoder(checkpoint), folder / "encoder").run({"mel": random_mel(checkpoint.dims, n_audio)})
    return {name: array for name, array in outputs.items() if name.startswith("cross_")}


def forced_logits(
    model: ir.Model,
    cross: Mapping[str, np.ndarray],
    tokens: np.ndarray,
    folder: Path,
    *,
    calls: Calls,
    reorder: Mapping[int, Sequence[int]] | None = None,
) -> np.ndarray:
    """Logits [n_seq, n_tokens, n_vocab] for given tokens, in calls of these lengths, each on the last one's caches.

    After call i the sequences' caches are exchanged as `reorder[i]` says, as beam search does. Buffers of fixed length
    are full of sevens at first.
    """
    runner, graph = _runner(model, folder), model.graph
    caches = {value.name or "": _empty(value, len(tokens)) for value in graph.inputs if "past_self" in str(value.name)}
    has_n_past = any(value.name == "n_past" for value in graph.inputs)
    logits, first = [], 0
    for index, n_new in enumerate(calls):
        inputs = {"tokens": tokens[:, first : first + n_new], "logit_positions": np.arange(n_new), **caches, **cross}
        outputs = runner.run(inputs | ({"n_past": np.asarray(first)} if has_n_past else {}))
        logits.append(outputs["logits"])
        order = list((reorder or {}).get(index, range(len(tokens))))
        caches = {name: outputs[name.replace("past", "present", 1)][order] for name in caches}
        first += n_new
    return np.concatenate(logits, axis=1)


def _empty(value: ir.Value, n_seq: int) -> np.ndarray:
    assert value.shape is not None
    assert value.dtype is not None
    lengths = [n_seq, *(int(dim) if isinstance(dim, int) else 0 for dim in list(value.shape)[1:])]
    return np.full(lengths, 7, value.dtype.numpy())


def _runner(model: ir.Model, folder: Path) -> GraphRunner:
    folder.mkdir(parents=True, exist_ok=True)
    return GraphRunner(Scratch(folder).save(model), aliases=aliases_of(model.graph))
