"""Add the residual, and normalise the sum, in one go.

    before   x, branch ─► Add ─┬► LayerNormalization ─► y
                               └► the next residual
    after    x, branch ─► SkipLayerNormalization ─┬► y          an operator of ONNX Runtime
                                                  └► the sum, its fourth output
    with fold_bias: branch ─► Add bias ─► is taken in as the operator's fifth input

No pipeline of ours runs it: on a CPU the plain form is the faster one. It is here for other targets and to be measured.
Declines where the operands differ in shape or are not [n_seq, n, n_state], without a bias of the norm, when the sum is
an output of the graph, and for outputs of the norm besides the first.
"""

from collections.abc import Sequence

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    constant_operand,
    input_of,
    is_constant,
    new_node,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    tensor_of,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes, note_shape
from stagewhisper.compiler.trial_lengths import Trial, try_lengths

_SUM = 3  # the operator's outputs are the normalised value, two that only training reads, and the sum


def fuse_skip_layer_norm(graph: ir.Graph, *, fold_bias: bool = True) -> int:
    """Add and LayerNormalization become SkipLayerNormalization; returns how many."""
    norms = [norm for norm in nodes_of(graph, "LayerNormalization") if _is_plain(norm)]
    if not norms:
        return 0
    trials, shapes = try_lengths(graph), infer_shapes(graph)
    sums = [(norm, add) for norm in norms if (add := _residual(norm, trials)) is not None]
    for norm, add in sums:
        bias = _take_out_bias(graph, add, trials) if fold_bias else None
        _fuse(graph, norm, add, bias, shapes)
    return len(sums)


def _fuse(graph: ir.Graph, norm: ir.Node, add: ir.Node, bias: ir.Value | None, shapes: InferredShapes) -> None:
    inputs = [*add.inputs, *norm.inputs[1:3], *([] if bias is None else [bias])]
    epsilon = attribute_of(norm, "epsilon", 1e-5)
    n_outputs = _SUM + 1
    node = new_node(
        graph, add, "SkipLayerNormalization", *inputs, domain=MICROSOFT, n_outputs=n_outputs, epsilon=epsilon
    )
    for old, output in ((norm.outputs[0], node.outputs[0]), (add.outputs[0], node.outputs[_SUM])):
        note_shape(output, shapes, like=old)
        replace_value(graph, old, output)
    for unread in node.outputs[1:_SUM]:
        unread.name = ""
    remove_unused(graph, norm, add)


def _is_plain(norm: ir.Node) -> bool:
    """A norm over the last axis in float32, with a bias, of which only the first output is used."""
    weight = tensor_of(input_of(norm, 1))
    return (
        weight is not None
        and len(weight.shape) == 1
        and is_constant(input_of(norm, 2))
        and attribute_of(norm, "axis", -1) == -1
        and not any(output.uses() or output.is_graph_output() for output in norm.outputs[1:])
    )


def _residual(norm: ir.Node, trials: Sequence[Trial]) -> ir.Node | None:
    """The sum that is normalised, of two activations of the same three axes; only the first norm of a sum takes it."""
    add = producer(norm.inputs[0], "Add")
    if add is None or add.outputs[0].is_graph_output() or any(is_constant(value) for value in add.inputs):
        return None
    left, right = ([trial.shape(value) for trial in trials] for value in add.inputs)
    is_alike = left == right and all(shape is not None and len(shape) == 3 for shape in left)
    norms = [use.node for use in add.outputs[0].uses() if use.node.op_type == "LayerNormalization"]
    return add if is_alike and norms[0] is norm else None


def _take_out_bias(graph: ir.Graph, add: ir.Node, trials: Sequence[Trial]) -> ir.Value | None:
    """The bias that an operand of the residual ends with; the operand is read without it from now on."""
    for index, value in enumerate(add.inputs):
        inner = producer(value, "Add")
        pair = None if inner is None or value is None or only_consumer(value) is None else constant_operand(inner)
        if inner is not None and pair is not None and _is_vector_of(pair[0], pair[1], trials):
            add.replace_input_with(index, pair[1])
            graph.remove(inner, safe=True)
            return pair[0]
    return None


def _is_vector_of(bias: ir.Value, x: ir.Value, trials: Sequence[Trial]) -> bool:
    shapes = [(trial.shape(bias), trial.shape(x)) for trial in trials]
    return all(
        vector is not None and shape is not None and len(shape) == 3 and vector == shape[-1:]
        for vector, shape in shapes
    )
