"""Does a graph still compute what it computed before a pass? Both run on ONNX Runtime, on the same real inputs.

    case ─► adapt_inputs of the passes so far ─► graph after ─► adapt_outputs of this pass ─┐
    case ─► the same, without this pass ───────► graph before ───────────────────────────────┴─► difference ≤ tolerance

Only one graph is loaded at a time: of the graph before, its outputs are kept. One comparison costs writing what the
pass made of the weights, loading the graph and running the cases, which is about as long as starting an engine and
transcribing nothing: `each=False` compares the last graph with the first one only.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays, Contract
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.errors import CompilerError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as in engines/onnxruntime.py
import onnxruntime as ort

TIMED_RUNS = 5


@dataclass(frozen=True)
class Case:
    """Inputs for one call of a graph, in the terms of the graph as it was before any pass."""

    name: str
    """What the call does: "prompt", "step, 5 beams"."""
    inputs: Arrays


@dataclass(frozen=True)
class Difference:
    """How far two graphs' outputs are apart."""

    size: float
    """Largest |after − before| of any output, as a share of its largest |before|, or of 1 where that is smaller."""
    where: str
    """The output and the case that it was found in."""


@dataclass(frozen=True)
class Options:
    """How graphs are compared."""

    each: bool = True
    """After each pass; otherwise once, at the end."""
    timed: bool = False
    """Also measure every case, five runs each; the fastest counts."""
    threads: int = 1


@dataclass(frozen=True)
class _Results:
    """What one graph gave for every case."""

    outputs: tuple[Arrays, ...]
    """Empty where they were compared one by one and not kept."""
    milliseconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Change:
    """What a pass declared, and the graph as it left it: to translate inputs and outputs when they are wanted.

    Translated inputs are not kept: buffers of full length for all beams of all cases are larger than many a model.
    """

    contract: Contract
    graph: ir.Graph


class GraphRunner:
    """A graph loaded by ONNX Runtime."""

    def __init__(
        self, path: Path, *, aliases: Mapping[str, str] | None = None, threads: int = 1, packed: bool = True
    ) -> None:
        """`aliases` names the outputs that are written over inputs.

        Without `packed`, weights stay as they lie in the file: half the memory, and products that take longer.

        Raises:
            CompilerError: ONNX Runtime refuses the graph.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what fails is raised, too
        options.enable_cpu_mem_arena = False  # it keeps every buffer that any call ever needed
        if not packed:
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CompilerError(f"ONNX Runtime refuses the graph: {error}") from error
        self._output_names = [output.name for output in self._session.get_outputs()]
        self._input_names = {given.name for given in self._session.get_inputs()}
        self._inputs_of = {output: given for given, output in (aliases or {}).items()}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The graph's outputs.

        Raises:
            CompilerError: inputs are missing or left over, or ONNX Runtime fails.
        """
        inputs = self._with_own_buffers(inputs)
        binding, _buffers = self._bound(inputs)
        self._run(binding)
        given = zip(self._output_names, binding.get_outputs(), strict=True)
        return {
            name: inputs[self._inputs_of[name]] if name in self._inputs_of else value.numpy() for name, value in given
        }

    def milliseconds(self, inputs: Arrays) -> float:
        """Time of one run, the fastest of five after one to warm up; handing over the inputs is not counted.

        Raises:
            CompilerError: as for `run`.
        """
        binding, _buffers = self._bound(self._with_own_buffers(inputs))
        self._run(binding)
        return min(self._timed(binding) for _ in range(TIMED_RUNS))

    def _with_own_buffers(self, inputs: Arrays) -> Arrays:
        """What is written over is copied first; afterwards it is the output."""
        overwritten = set(self._inputs_of.values())
        return {name: np.array(array, order="C") if name in overwritten else array for name, array in inputs.items()}

    def _bound(self, inputs: Arrays) -> tuple[ort.IOBinding, Mapping[str, ort.OrtValue]]:
        """The call, and its inputs, which whoever makes the call must hold until it is done."""
        self._check_names(inputs)
        binding = self._session.io_binding()
        buffers = {name: _buffer(array) for name, array in inputs.items()}
        for name, buffer in buffers.items():
            binding.bind_ortvalue_input(name, buffer)
        for name in self._output_names:
            if name in self._inputs_of:
                binding.bind_ortvalue_output(name, buffers[self._inputs_of[name]])
            else:
                binding.bind_output(name, "cpu")
        return binding, buffers

    def _run(self, binding: ort.IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise CompilerError(f"ONNX Runtime cannot run the graph: {error}") from error

    def _timed(self, binding: ort.IOBinding) -> float:
        started = time.perf_counter()
        self._run(binding)
        return 1000 * (time.perf_counter() - started)

    def _check_names(self, inputs: Arrays) -> None:
        missing, left_over = sorted(self._input_names - set(inputs)), sorted(set(inputs) - self._input_names)
        if missing or left_over:
            raise CompilerError(
                f"The graph's inputs have changed: it wants {missing or 'nothing'} and does not know "
                f"{left_over or 'nothing'}. A pass that changes inputs declares adapt_inputs."
            )


def _buffer(array: np.ndarray) -> ort.OrtValue:
    """The array for ONNX Runtime, which uses the array's own memory."""
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))


class Equivalence:
    """Follows one graph through its passes, and compares it with what it was."""

    def __init__(self, cases: Sequence[Case], folder: Path, *, options: Options | None = None) -> None:
        """`folder` is for the graph's weights, once over; it may be removed when the passes have run."""
        self.options = options or Options()
        self._cases = tuple(cases)
        self._scratch = Scratch(folder)
        self._history: list[_Change] = []
        self._first: _Results | None = None
        self._before: _Results | None = None
        self._last: _Results | None = None  # of the graph as it is now; None when a pass has changed it since

    def start(self, model: ir.Model) -> None:
        """Run the graph as it is before any pass.

        Raises:
            CompilerError: it does not run, or its numbers are no numbers.
        """
        self._first = self._last = self._kept(model)

    def restart(self, model: ir.Model) -> None:
        """Begin again with the graph as it was before any pass, and compare it after each from now on.

        Raises:
            CompilerError: as for `start`.
        """
        self.options = replace(self.options, each=True, timed=False)
        self._history = []
        self.start(model)

    def follow(self, contract: Contract, graph: ir.Graph) -> None:
        """Note that a pass has just changed the graph, so that later inputs and outputs are understood.

        Raises:
            CompilerError: the pass's `adapt_inputs` fails.
        """
        keeps_inputs = contract.adapt_inputs is Contract().adapt_inputs
        self._history.append(_Change(contract, graph if keeps_inputs else graph.clone(allow_outer_scope_values=True)))
        for case in self._cases:
            self._stages(case)
        self._before, self._last = self._last, None

    def compare(self, model: ir.Model) -> Difference:
        """How far the graph is from what it was at the last comparison, which `follow` has told one pass about.

        Raises:
            CompilerError: the graph does not run, its numbers are no numbers, or its outputs are not those declared.
        """
        before, self._before = self._before, None
        assert before is not None, "start() comes first"  # noqa: S101
        self._last = self._kept(model)
        return self._largest(before.outputs, self._last.outputs, passes=1)

    def compare_with_first(self, model: ir.Model) -> Difference:
        """How far the graph is from what it was before all passes.

        Raises:
            CompilerError: as for `compare`.
        """
        assert self._first is not None, "start() comes first"  # noqa: S101
        passes = len(self._history)
        if self._last is not None and self._last.outputs:
            return self._largest(self._first.outputs, self._last.outputs, passes=passes)
        before, found = self._first.outputs, []

        def compare_one(index: int, outputs: Arrays) -> None:
            found.append(self._difference(index, before[index], outputs, passes=passes))

        self._last = _Results((), self._run(model, compare_one))
        return _worst(found)

    def weights_from_disk(self, model: ir.Model) -> AbstractContextManager[None]:
        """For a block that saves the model: its large weights are read from where they were written for comparison."""
        return self._scratch.weights_from_disk(model)

    @property
    def milliseconds(self) -> Mapping[str, float]:
        """Time of every case on the graph that ran last; empty unless asked for."""
        return {} if self._last is None else self._last.milliseconds

    @property
    def first_milliseconds(self) -> Mapping[str, float]:
        """The same on the graph before all passes."""
        return {} if self._first is None else self._first.milliseconds

    def _kept(self, model: ir.Model) -> _Results:
        """All that the graph gives."""
        outputs: list[Arrays] = []
        milliseconds = self._run(model, lambda _, found: outputs.append(found))
        return _Results(tuple(outputs), milliseconds)

    def _run(self, model: ir.Model, visit: Callable[[int, Arrays], None]) -> Mapping[str, float]:
        """Milliseconds by case, if they are asked for; each case's number and outputs go to `visit`."""
        path = self._scratch.save(model)
        timed, threads = self.options.timed, self.options.threads
        runner = GraphRunner(path, aliases=aliases_of(model.graph), threads=threads, packed=timed)
        milliseconds = {}
        for index, case in enumerate(self._cases):
            inputs = self._stages(case)[-1]
            visit(index, _checked_numbers(runner.run(inputs), case.name))
            if timed:
                milliseconds[case.name] = runner.milliseconds(inputs)
        return milliseconds

    def _stages(self, case: Case) -> list[Arrays]:
        """The case's inputs before any pass, and after each."""
        stages = [case.inputs]
        for change in self._history:
            try:
                stages.append(change.contract.adapt_inputs(stages[-1], change.graph))
            except Exception as error:
                raise CompilerError(f"Its adapt_inputs failed: {type(error).__name__}: {error}") from error
        return stages

    def _largest(self, before: Sequence[Arrays], after: Sequence[Arrays], *, passes: int) -> Difference:
        pairs = enumerate(zip(before, after, strict=True))
        return _worst([self._difference(index, *pair, passes=passes) for index, pair in pairs])

    def _difference(self, index: int, before: Arrays, outputs: Arrays, *, passes: int) -> Difference:
        """Between one case's outputs before and after the last so many passes."""
        case = self._cases[index]
        stages = self._stages(case)[-passes:] if passes else []
        for change, inputs in zip(reversed(self._history[-passes:] if passes else []), reversed(stages), strict=True):
            outputs = _adapted(change.contract, outputs, inputs)
        found = difference(before, outputs)
        return Difference(found.size, f"{found.where} of {case.name!r}")


def _worst(found: Sequence[Difference]) -> Difference:
    return max(found, key=lambda one: one.size, default=Difference(0.0, ""))


def difference(before: Arrays, after: Arrays) -> Difference:
    """The largest difference of any output; where `after` is NaN nothing is compared.

    Raises:
        CompilerError: names, shapes or types of the outputs differ.
    """
    if set(before) != set(after):
        raise CompilerError(
            f"The graph's outputs have changed: {sorted(set(before) - set(after))} are gone and "
            f"{sorted(set(after) - set(before))} are new. A pass that changes outputs declares adapt_outputs."
        )
    sizes = {name: _size(name, before[name], after[name]) for name in before}
    where = max(sizes, key=lambda name: sizes[name])
    return Difference(sizes[where], where)


def _size(name: str, before: np.ndarray, after: np.ndarray) -> float:
    if before.shape != after.shape or before.dtype != after.dtype:
        raise CompilerError(
            f"The output {name!r} was {before.dtype}{list(before.shape)} and is {after.dtype}{list(after.shape)}. "
            f"A pass that changes outputs declares adapt_outputs."
        )
    if before.size == 0:
        return 0.0
    scale = max(1.0, float(np.abs(before).max()))
    apart = np.abs(before.astype(np.float32, copy=False) - after.astype(np.float32, copy=False))
    return float(np.nan_to_num(apart, nan=0.0).max()) / scale


def _checked_numbers(outputs: dict[str, np.ndarray], case: str) -> dict[str, np.ndarray]:
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CompilerError(f"The output {name!r} of {case!r} holds numbers that are not finite (NaN or infinity)")
    return outputs


def _adapted(contract: Contract, outputs: Arrays, inputs: Arrays) -> Arrays:
    try:
        return contract.adapt_outputs(outputs, inputs)
    except Exception as error:
        raise CompilerError(f"Its adapt_outputs failed: {type(error).__name__}: {error}") from error
