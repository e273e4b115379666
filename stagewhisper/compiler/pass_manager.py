"""Run passes over a graph, one by one, and let none go by unchecked.

    pass ─► count of rewrites ─► verify: is the graph legal? ─► equivalence: are its numbers the same? ─► next pass

Numbers are compared after each pass, or twice: before the first pass that may change them by more than rounding, where
hardly anything is allowed, and at the end, where as much is allowed as the recipe says.

A pass that raises, makes the graph illegal or breaks its numbers stops everything and is named.
"""

import logging
import textwrap
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import onnx_ir as ir

from stagewhisper.compiler.contract import FP32_TOLERANCE, Contract, Pass, contract_of
from stagewhisper.compiler.equivalence import Difference, Equivalence
from stagewhisper.compiler.graph_tools import ALIASES
from stagewhisper.compiler.layer_patterns import patterns_of, unmatched
from stagewhisper.compiler.parameter_types import described, fits, parameters_of
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.report import Parameter, PassRecord, Report
from stagewhisper.compiler.steps import PassStep as PassStep
from stagewhisper.compiler.verify import verify
from stagewhisper.errors import CompilerError, OptionError

logger = logging.getLogger(__name__)

_LONGEST_REASON = 400


@dataclass(frozen=True)
class _Planned:
    step: PassStep
    function: Pass
    contract: Contract


@dataclass(frozen=True)
class _Size:
    """What a graph weighs."""

    ops: int
    n_bytes: int


def run_passes(
    model: ir.Model,
    steps: Sequence[PassStep],
    *,
    disabled: Collection[str] = (),
    equivalence: Equivalence | None = None,
    tolerance: float | None = None,
) -> Report:
    """What the passes did to the model's graph, which they edit in place.

    `disabled` names passes to be left out. Without an `equivalence` the numbers are not compared. `tolerance` is how
    far all passes together may change the numbers where one of them may do so by more than rounding; without it, as
    far as the one that may change them most.

    Raises:
        OptionError: there is no pass of a name, or it has no such parameter.
        CompilerError: a pass failed, made the graph illegal or broke its numbers; the message names it.
    """
    planned = [_planned(step) for step in steps if step.name not in disabled]
    _check_known(disabled)
    types_before, size_before = _op_types(model.graph), _size(model.graph)
    with _blaming("before any pass"):
        verify(model)
        if equivalence is not None:
            equivalence.start(model)
    records, found = _run_and_compare(model, planned, equivalence, tolerance)
    if ALIASES in model.graph.metadata_props:
        model.metadata_props[ALIASES] = model.graph.metadata_props[ALIASES]
    return Report(
        graph=model.graph.name or "graph",
        passes=tuple(records),
        switched_off=tuple(step.name for step in steps if step.name in disabled),
        op_types_before=types_before,
        op_types_after=_op_types(model.graph),
        bytes_before=size_before.n_bytes,
        bytes_after=_size(model.graph).n_bytes,
        difference=found.size if found else None,
        where=found.where if found else "",
        allowed=_allowed(records, tolerance) if found else None,
        ms_before=dict(equivalence.first_milliseconds) if equivalence else {},
        ms_after=dict(equivalence.milliseconds) if equivalence else {},
    )


def check_step(step: PassStep) -> None:
    """Nothing, if the pass exists and takes these parameters.

    Raises:
        OptionError: it does not.
    """
    _planned(step)


def _planned(step: PassStep) -> _Planned:
    function = PASSES.get(step.name)
    known = parameters_of(function)
    for name, value in step.parameters.items():
        if name not in known:
            raise OptionError(
                f"The pass {step.name!r} has no parameter {name!r}. Known: {', '.join(sorted(known)) or 'none'}."
            )
        if not fits(value, known[name]):
            raise OptionError(f"The pass {step.name!r}: {name} is {value!r}; expected {described(known[name])}.")
    contract = contract_of(function)
    if step.tolerance is not None:
        contract = replace(contract, tolerance=step.tolerance)
    return _Planned(step, function, contract)


def _check_known(disabled: Collection[str]) -> None:
    for name in disabled:
        if name not in PASSES.names():
            raise OptionError(f"No pass named {name!r} to switch off. Known: {', '.join(PASSES.names())}.")


def _run_and_compare(
    model: ir.Model, planned: Sequence[_Planned], equivalence: Equivalence | None, tolerance: float | None
) -> tuple[list[PassRecord], Difference | None]:
    if equivalence is None:
        return [_run_one(model, one, None) for one in planned], None
    if not equivalence.options.each:
        return _run_and_compare_twice(model, planned, equivalence, tolerance)
    records = [_run_one(model, one, equivalence) for one in planned]
    found = equivalence.compare_with_first(model)
    reason = _too_much(found, _allowed(records, tolerance))
    if reason and records:
        raise _together(reason)
    return records, found


def _run_and_compare_twice(
    model: ir.Model, planned: Sequence[_Planned], equivalence: Equivalence, tolerance: float | None
) -> tuple[list[PassRecord], Difference | None]:
    """Where the numbers have changed too much, the passes run again on a copy to find out which of them did it."""
    copy, n_exact = model.clone(), _n_exact(planned)
    records: list[PassRecord] = []
    found: Difference | None = None
    for part in (planned[:n_exact], planned[n_exact:]):
        new = [_run_one(model, one, equivalence) for one in part]
        records += new
        if found is not None and not any(map(_has_changed, new)):
            break  # nothing to compare that was not compared already
        try:
            found = equivalence.compare_with_first(model)
            reason = _too_much(found, _allowed(records, tolerance)) if records else ""
        except CompilerError as error:
            reason = str(error).removesuffix(".")
        if reason:
            _find_culprit(copy, planned[: len(records)], equivalence, reason)
    return records, found


def _n_exact(planned: Sequence[_Planned]) -> int:
    """How many passes stand before the first that may change numbers by more than rounding."""
    lossy = (index for index, one in enumerate(planned) if one.contract.tolerance > FP32_TOLERANCE)
    return next(lossy, len(planned))


def _find_culprit(copy: ir.Model, planned: Sequence[_Planned], equivalence: Equivalence, reason: str) -> None:
    """Always an error, which names the pass if one alone is to blame."""
    logger.info("The numbers have changed (%s). Running the passes again to find out which one did it.", reason)
    equivalence.restart(copy)
    for one in planned:
        _run_one(copy, one, equivalence)
    raise _together(reason)


def _together(reason: str) -> CompilerError:
    return CompilerError(f"The passes together changed the numbers too much, though none did alone: {reason}.")


def _has_changed(record: PassRecord) -> bool:
    return record.tolerance is not None


def _allowed(records: Sequence[PassRecord], tolerance: float | None) -> float:
    """How far the passes together may change the numbers: rounding adds up, and what is lost on purpose does not.

    A tolerance says what cannot be right any more, several times what is usual: two of them say no more than one.
    """
    each = [record.tolerance for record in records if record.tolerance is not None]
    lossy = [one for one in each if one > FP32_TOLERANCE]
    rounding = sum(one for one in each if one <= FP32_TOLERANCE)
    return rounding + ((tolerance or max(lossy)) if lossy else 0.0)


def _too_much(found: Difference, allowed: float) -> str:
    """What is wrong with the difference; nothing if it may be so large."""
    return f"{found.size:.1e} in {found.where}, where {allowed:.1e} is allowed" if found.size > allowed else ""


def _run_one(model: ir.Model, planned: _Planned, equivalence: Equivalence | None) -> PassRecord:
    before, form = _size(model.graph), _form(model.graph)
    nameless = unmatched(model.graph, patterns_of(planned.step))
    ms_before = dict(equivalence.milliseconds) if equivalence else {}
    started = time.perf_counter()
    with _blaming(f"the pass {planned.step.name!r}"):
        rewrites = _call(planned, model.graph)
        finished = time.perf_counter()
        verify(model)
        changed = rewrites > 0 or _form(model.graph) != form
        found = _compared(model, planned.contract, equivalence) if equivalence and changed else None
    checked = time.perf_counter()
    after = _size(model.graph)
    logger.debug("%s: %d rewrites, %d → %d operators", planned.step.name, rewrites, before.ops, after.ops)
    return PassRecord(
        name=planned.step.name,
        rewrites=rewrites,
        seconds=finished - started,
        check_seconds=checked - finished,
        ops_before=before.ops,
        ops_after=after.ops,
        bytes_before=before.n_bytes,
        bytes_after=after.n_bytes,
        parameters={name: _plain(value) for name, value in planned.step.parameters.items()},
        unmatched=nameless,
        tolerance=planned.contract.tolerance if equivalence and changed else None,
        difference=found.size if found else None,
        where=found.where if found else "",
        ms_before=ms_before if found else {},
        ms_after=dict(equivalence.milliseconds) if equivalence and found else {},
    )


def _plain(value: Parameter) -> Parameter:
    """What JSON gives back equal."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _call(planned: _Planned, graph: ir.Graph) -> int:
    try:
        rewrites = planned.function(graph, **planned.step.parameters)
    except (CompilerError, OptionError):
        raise
    except Exception as error:
        reason = textwrap.shorten(str(error), _LONGEST_REASON)  # some print a whole graph
        raise CompilerError(f"it failed with {type(error).__name__}: {reason}") from error
    if isinstance(rewrites, bool) or not isinstance(rewrites, int) or rewrites < 0:
        raise CompilerError(f"it returned {rewrites!r}; expected the number of its rewrites")
    return rewrites


def _compared(model: ir.Model, contract: Contract, equivalence: Equivalence) -> Difference | None:
    equivalence.follow(contract, model.graph)
    if not equivalence.options.each:
        return None
    found = equivalence.compare(model)
    if reason := _too_much(found, contract.tolerance):
        raise CompilerError(f"it changed the numbers: {reason}")
    return found


@contextmanager
def _blaming(culprit: str) -> Iterator[None]:
    """Turns an error of the block into one that names who made it, and what to do unless a parameter is to blame."""
    named = f"{culprit[0].upper()}{culprit[1:]}: "
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{named}{error}") from error
    except CompilerError as error:
        said = f"{named}{error}"
        if culprit.startswith("the pass"):
            name = culprit.split("'")[1]
            said = f"{said.removesuffix('.')}. Switch it off with --disable-pass {name}, and tell its authors."
        raise CompilerError(said) from error


def _size(graph: ir.Graph) -> _Size:
    weights = (value.const_value for value in graph.initializers.values())
    constants = (
        attribute.as_tensor()
        for node in graph.all_nodes()
        if node.op_type == "Constant"
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR
    )
    n_bytes = sum(tensor.nbytes for tensor in (*weights, *constants) if tensor is not None)
    return _Size(sum(1 for _ in graph.all_nodes()), n_bytes)


def _op_types(graph: ir.Graph) -> Mapping[str, int]:
    return dict(sorted(Counter(node.op_type for node in graph.all_nodes()).items()))


def _form(graph: ir.Graph) -> tuple[object, ...]:
    """Something that changes whenever a node or a weight comes, goes or is wired otherwise."""
    nodes = tuple((id(node), tuple(map(id, node.inputs))) for node in graph.all_nodes())
    weights = tuple((name, id(value.const_value)) for name, value in graph.initializers.items())
    return nodes, weights, tuple(map(id, graph.inputs)), tuple(map(id, graph.outputs))
