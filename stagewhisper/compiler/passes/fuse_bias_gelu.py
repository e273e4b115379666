"""Add a bias and take GELU of the sum in one go.

    before   x ─► Add bias ─► Gelu ─► y
    after    x ─► BiasGelu(bias) ─► y          an operator of ONNX Runtime

Declines for GELU's approximation by tanh, for a bias that is no vector of x's last length, for other types than
float32 (the only one that the kernel has on a CPU), and where the sum is used elsewhere.

No pipeline of ours runs it: on the CPU that was measured, Add and Gelu together took no longer. Weights that become
DynamicQuantizeMatMul take their bias into that operator, so quantise them first.
"""

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    constant_operand,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    tensor_of,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes, note_shape


def fuse_bias_gelu(graph: ir.Graph) -> int:
    """Add and Gelu become BiasGelu; returns how many."""
    fused = 0
    shapes: InferredShapes | None = None
    for gelu in [*nodes_of(graph, "Gelu"), *nodes_of(graph, "Gelu", domain=MICROSOFT)]:
        pair = _biased(gelu)
        if pair is None:
            continue
        bias, x = pair
        shapes = shapes or infer_shapes(graph)
        if shapes.length(x, -1) != shapes.length(bias, 0):
            continue
        output = new_op(graph, gelu, "BiasGelu", x, bias, domain=MICROSOFT)
        note_shape(output, shapes, like=x)
        replace_value(graph, gelu.outputs[0], output)
        remove_unused(graph, gelu)
        fused += 1
    return fused


def _biased(gelu: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(bias, x) of the sum that only `gelu` reads."""
    total = gelu.inputs[0]
    add = producer(total, "Add")
    if total is None or add is None or only_consumer(total) is not gelu:
        return None
    if attribute_of(gelu, "approximate", "none") != "none":
        return None
    pair = constant_operand(add)
    tensor = None if pair is None else tensor_of(pair[0])
    is_bias = tensor is not None and tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) == 1
    return pair if is_bias else None
