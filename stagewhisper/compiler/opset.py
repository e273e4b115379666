"""Read a graph as one of a later ONNX opset, where its operators mean the same there."""

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import input_of

NEWEST = 20
"""What is known here: the changes from opset 13 to 20."""

OLDEST = 13

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
_CHANGED = {
    18: ("Resize", "Split", *(f"Reduce{kind}" for kind in _REDUCTIONS)),
    20: ("AffineGrid", "GridSample"),
}
"""Operators whose attributes became inputs, or whose meaning changed, by the opset in which they did.

All others of these opsets only gained types and attributes with defaults. Source: ONNX, docs/Changelog.md.
"""


def opset_of(graph: ir.Graph) -> int:
    """The version of ONNX's own operators that the graph imports; 0 if it imports none."""
    return graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 0))


def raise_opset(graph: ir.Graph, version: int) -> bool:
    """Whether the graph is, or can be read as, one of at least opset `version`; if so, it says that it is."""
    now = opset_of(graph)
    if now >= version:
        return True
    if not now >= OLDEST or version > NEWEST:
        return False
    changed = {name for since, names in _CHANGED.items() if now < since <= version for name in names}
    if any(node.op_type in changed and not _means_the_same(node) for node in graph.all_nodes()):
        return False
    graph.opset_imports.pop("ai.onnx", None)
    graph.opset_imports[""] = version
    return True


def _means_the_same(node: ir.Node) -> bool:
    """A Split with given sizes is read alike by all of these opsets; operators of other domains have their own."""
    return node.domain not in ("", "ai.onnx") or (node.op_type == "Split" and input_of(node, 1) is not None)
