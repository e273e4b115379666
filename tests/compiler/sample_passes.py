"""Passes as other packages might bring them, good and bad, for the manager to run."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    constant_operand,
    new_op,
    nodes_of,
    replace_value,
)


def swap_addends(graph: ir.Graph) -> int:
    """Constants to the front of every sum: another order, the same numbers."""
    count = 0
    for node in nodes_of(graph, "Add"):
        found = constant_operand(node)
        if found and found[0] is not node.inputs[0]:
            node.replace_input_with(0, found[0])
            node.replace_input_with(1, found[1])
            count += 1
    return count


def do_nothing(graph: ir.Graph, *, to: Sequence[str] = ("*",)) -> int:
    return 0


def scale_logits(graph: ir.Graph, *, factor: float = 1.01) -> int:
    """Logits times `factor`: wrong, unless a tolerance allows it."""
    logits = next(value for value in graph.outputs if value.name == "logits")
    node = logits.producer()
    assert node is not None
    if node.op_type == "Mul":
        return 0
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    unscaled = new_op(graph, node, node.op_type, *node.inputs, domain=node.domain, **given)
    replace_value(
        graph, logits, new_op(graph, node, "Mul", unscaled, add_initializer(graph, "f", np.array(factor, np.float32)))
    )
    graph.remove(node, safe=True)
    return 1


@declares(tolerance=0.02)
def scale_logits_openly(graph: ir.Graph) -> int:
    return scale_logits(graph)


def scale_secretly(graph: ir.Graph) -> int:
    scale_logits(graph)
    return 0


def make_infinite(graph: ir.Graph) -> int:
    return scale_logits(graph, factor=float("inf"))


def leave_a_hole(graph: ir.Graph) -> int:
    """Removes a node whose output others still read."""
    graph.remove(next(nodes_of(graph, "LayerNormalization")))
    return 1


def invent_an_operator(graph: ir.Graph) -> int:
    """Legal for ONNX, whose checker knows nothing of other domains; ONNX Runtime knows better."""
    node = next(nodes_of(graph, "Softmax"))
    replace_value(graph, node.outputs[0], new_op(graph, node, "Hardmaxx", node.inputs[0], domain=MICROSOFT))
    graph.remove(node, safe=True)
    return 1


def fail(graph: ir.Graph) -> int:
    raise KeyError("val_17")


def answer_in_words(graph: ir.Graph) -> object:
    return "three"


def rename_logits(graph: ir.Graph) -> int:
    """Changes an output's name and does not say so."""
    next(value for value in graph.outputs if value.name == "logits").name = "scores"
    return 1


def turn_tokens_silently(graph: ir.Graph) -> int:
    """The input `tokens` [n_seq, n_new] becomes `tokens_turned` [n_new, n_seq]."""
    tokens = next(value for value in graph.inputs if value.name == "tokens")
    turned = ir.val("tokens_turned", ir.DataType.INT64, ["n_new", "n_seq"])
    straight = new_op(graph, graph[0], "Transpose", turned, perm=[1, 0])
    tokens.replace_all_uses_with(straight)
    graph.inputs[list(graph.inputs).index(tokens)] = turned
    return 1


def _turned(inputs: Arrays, graph: ir.Graph) -> Arrays:
    return {("tokens_turned" if name == "tokens" else name): _turn(name, array) for name, array in inputs.items()}


def _turn(name: str, array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T) if name == "tokens" else array


@declares(adapt_inputs=_turned)
def turn_tokens(graph: ir.Graph) -> int:
    return turn_tokens_silently(graph)


def _only_last_said(outputs: Arrays, inputs: Arrays) -> Arrays:
    whole = np.full_like(outputs["logits"], np.nan, shape=(*_n_logits(inputs, outputs), outputs["logits"].shape[2]))
    whole[:, -1:] = outputs["logits"]
    return {**outputs, "logits": whole}


def _n_logits(inputs: Arrays, outputs: Arrays) -> tuple[int, int]:
    return len(outputs["logits"]), len(inputs["logit_positions"])


@declares(adapt_outputs=_only_last_said)
def logits_of_the_last_position(graph: ir.Graph) -> int:
    """Whatever positions are asked for, logits of the last one come."""
    logits = next(value for value in graph.outputs if value.name == "logits")
    node = logits.producer()
    assert node is not None
    last = add_initializer(graph, "last", np.array([-1]))
    unscaled = new_op(graph, node, "Gather", node.inputs[0], last, axis=1)
    node.replace_input_with(0, unscaled)
    return 1


@declares(adapt_outputs=lambda outputs, inputs: {"logits": outputs["no such output"]})
def adapt_wrongly(graph: ir.Graph) -> int:
    return 1 + swap_addends(graph)
