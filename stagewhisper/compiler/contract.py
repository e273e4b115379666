"""What a pass may change besides the graph's form: numbers within a tolerance, and the graph's inputs and outputs.

    @declares(tolerance=0.05)                              numbers change on purpose: quantisation
    @declares(adapt_inputs=pad, adapt_outputs=cut)         inputs or outputs change: a cache becomes a buffer

A pass that declares nothing keeps its graph's inputs and outputs, and its numbers within `FP32_TOLERANCE`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

Arrays = Mapping[str, np.ndarray]
"""Tensors by the name of a graph's input or output."""

AdaptInputs = Callable[[Arrays, ir.Graph], Arrays]
"""(inputs of the graph before, graph after) → inputs of the graph after, all of them."""

AdaptOutputs = Callable[[Arrays, Arrays], Arrays]
"""(outputs of the graph after, inputs it was given) → the same in the terms of the graph before: names, shapes, types.

NaN stands for numbers that the graph after does not give any more; they are not compared.
"""

Pass = Callable[..., int]
AnyPass = TypeVar("AnyPass", bound=Pass)

FP32_TOLERANCE = 2e-5
"""Float32 sums taken in another order; see `equivalence.difference` for how it is measured."""


def _same_inputs(inputs: Arrays, graph: ir.Graph) -> Arrays:  # noqa: ARG001  the signature of all adapters
    return inputs


def _same_outputs(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001
    return outputs


@dataclass(frozen=True)
class Contract:
    """What one pass declares."""

    tolerance: float = FP32_TOLERANCE
    adapt_inputs: AdaptInputs = _same_inputs
    adapt_outputs: AdaptOutputs = _same_outputs


def declares(
    *,
    tolerance: float = FP32_TOLERANCE,
    adapt_inputs: AdaptInputs = _same_inputs,
    adapt_outputs: AdaptOutputs = _same_outputs,
) -> Callable[[AnyPass], AnyPass]:
    """A decorator that notes on a pass what it changes."""
    contract = Contract(tolerance, adapt_inputs, adapt_outputs)

    def note(function: AnyPass) -> AnyPass:
        function.__dict__["contract"] = contract
        return function

    return note


def contract_of(function: Pass) -> Contract:
    """What a pass declares, or the strictest contract where it declares nothing."""
    contract: Any = getattr(function, "contract", None)
    return contract if isinstance(contract, Contract) else Contract()
