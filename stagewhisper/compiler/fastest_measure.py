"""Times of the graphs that some recipes make, in turns: which of them is fastest now and here.

round 1   recipe 1, recipe 2, …     the first call of each uncounted, for it finds another one's weights in the cache
round 2   recipe 1, recipe 2, …
…         the least time of each counts: whatever else the machine does only ever adds to it
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir

from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.compile_graphs import compile_graphs
from stagewhisper.compiler.equivalence import GraphRunner
from stagewhisper.compiler.graph_facts import graph_facts
from stagewhisper.compiler.graph_tools import MICROSOFT
from stagewhisper.compiler.profile_inputs import Call, call_inputs
from stagewhisper.compiler.recipe import Recipe
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.compiler.sessions import bound_call, open_session, value_of

N_PAST = 60
"""Tokens in the cache: those of a sentence or two."""
STEPS = {
    "step": Call(n_audio=1, n_seq=1, n_new=1, n_past=N_PAST),
    "step, 8 windows": Call(n_audio=8, n_seq=8, n_new=1, n_past=N_PAST),
    "step, 5 beams": Call(n_audio=1, n_seq=5, n_new=1, n_past=N_PAST),
}
ENCODER = Call(n_audio=1, n_seq=1, n_new=0, n_past=0)
N_ROUNDS = 8
N_CALLS = 3
ENOUGH = 4.0
"""Seconds that one kind of call may take with all its recipes, after some rounds."""
FEWEST_ROUNDS = 4
UNSTEADY = 1.5
"""A call whose median takes so many times its least was disturbed: something else wants the processor, too."""


def measured(
    checkpoint: Checkpoint, recipes: Sequence[Recipe], *, folder: Path, threads: int | None
) -> list[dict[str, float]]:
    """Milliseconds of each recipe's encoder and of three kinds of steps, by name; nothing at all on a busy machine.

    Raises:
        CompilerError: a recipe's passes fail.
        BundleError: ONNX Runtime refuses a graph.
    """
    folders = [folder / str(number) for number in range(len(recipes))]
    for recipe, own in zip(recipes, folders, strict=True):
        own.mkdir()
        compile_graphs(checkpoint, recipe, folder=own)
    n_vocab = checkpoint.dims.n_vocab
    times: list[dict[str, float]] = [{} for _ in recipes]
    for name, call in {"encoder": ENCODER, **STEPS}.items():
        graph = "encoder" if name == "encoder" else "decoder"
        callers = [_Caller(own / f"{graph}.onnx", call, n_vocab=n_vocab, threads=threads) for own in folders]
        rounds = _in_turns(callers)
        if max(median(seconds) / min(seconds) for seconds in rounds) > UNSTEADY:
            return []
        for own_times, seconds in zip(times, rounds, strict=True):
            own_times[name] = 1e3 * min(seconds)
    return times


def products_saturate() -> bool:
    """Whether products of 8-bit integers come out wrong here: without VNNI, x86 adds pairs of them in 16 bits."""
    n_in, n_out = 64, 32
    left, right = np.full((4, n_in), 255, np.uint8), np.full((n_in, n_out), 127, np.int8)
    one = np.asarray(1, np.float32)
    constants: dict[str, np.ndarray] = {"right": right, "left_scale": one, "right_scale": one}
    values = {
        name: ir.Value(
            name=name,
            const_value=(tensor := ir.tensor(array, name=name)),
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
        )
        for name, array in constants.items()
    }
    given = ir.val("left", ir.DataType.UINT8, [4, n_in])
    node = ir.node("MatMulIntegerToFloat", [given, *values.values()], domain=MICROSOFT)
    (found,) = node.outputs
    found.name, found.type, found.shape = "product", ir.TensorType(ir.DataType.FLOAT), ir.Shape([4, n_out])
    graph = ir.Graph(
        [given],
        [found],
        nodes=[node],
        initializers=list(values.values()),
        opset_imports={"": 20, MICROSOFT: 1},
        name="p",
    )
    product = _run(ir.Model(graph, ir_version=10), {"left": left})
    return not bool((product == n_in * 255 * 127).all())


def _run(model: ir.Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="stagewhisper-fastest-") as folder:
        return GraphRunner(Scratch(Path(folder)).save(model)).run(inputs)["product"]


class _Caller:
    """One graph and one kind of call."""

    def __init__(self, path: Path, call: Call, *, n_vocab: int, threads: int | None) -> None:
        self._session: Any = open_session(path, threads=threads, is_alone=False)
        inputs = call_inputs(self._session.get_inputs(), call, n_vocab=n_vocab)
        values = {name: value_of(array) for name, array in inputs.items()}
        self._binding = bound_call(self._session, values, graph_facts(path).aliases)
        self._kept = (inputs, values)

    def seconds(self) -> float:
        started = time.perf_counter()
        self._session.run_with_iobinding(self._binding)
        return time.perf_counter() - started


def _in_turns(callers: Sequence[_Caller]) -> list[list[float]]:
    """The seconds of each one's calls that count."""
    times: list[list[float]] = [[] for _ in callers]
    started = time.perf_counter()
    for number in range(N_ROUNDS):
        for own, caller in zip(times, callers, strict=True):
            caller.seconds()
            own += [caller.seconds() for _ in range(N_CALLS)]
        if number + 1 >= FEWEST_ROUNDS and time.perf_counter() - started > ENOUGH:
            break
    return times
