"""Remove nodes whose results nothing reads, nodes that only pass their input on, and weights that nothing reads.

    before   x ─► Identity ─► y ─► Add ─► out          x ─► Shape (read by none)        weight (read by none)
    after    x ──────────────────► Add ─► out

Passing on: Identity, Cast to the type that is there already, Dropout outside training.
Declines for an output of the graph that has no other node to take its name: an input or a constant passed through.
Inputs of the graph stay, read or not: they are its signature.
"""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from stagewhisper.compiler.graph_tools import attribute_of, nodes_of, replace_value
from stagewhisper.compiler.inferred_shapes import InferredShapes, infer_shapes


def remove_dead_nodes(graph: ir.Graph) -> int:
    """Remove what has no effect; returns how many nodes and weights went."""
    before = _size(graph)
    shapes = infer_shapes(graph)
    for node in nodes_of(graph, "Identity", "Cast", "Dropout"):
        source = node.inputs[0]
        if source is not None and _passes_on(node, source, shapes) and _may_vanish(node.outputs[0], source):
            replace_value(graph, node.outputs[0], source)
            graph.remove(node, safe=True)
    RemoveUnusedNodesPass()(ir.Model(graph, ir_version=10))
    return before - _size(graph)


def _size(graph: ir.Graph) -> int:
    return sum(1 for _ in graph.all_nodes()) + len(graph.initializers)


def _passes_on(node: ir.Node, source: ir.Value, shapes: InferredShapes) -> bool:
    if node.op_type == "Cast":
        return shapes.dtype(source) == ir.DataType(attribute_of(node, "to"))
    if node.op_type == "Dropout":
        training = len(node.inputs) > 2 and node.inputs[2] is not None
        mask_is_read = any(output.uses() or output.is_graph_output() for output in node.outputs[1:])
        return not training and not mask_is_read
    return True


def _may_vanish(result: ir.Value, source: ir.Value) -> bool:
    """Whether `source` can take the name of `result` where it is an output of the graph."""
    if not result.is_graph_output():
        return True
    return source.producer() is not None and source.graph is result.graph and not source.is_graph_output()
