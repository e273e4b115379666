"""What a graph file says without being run: bytes of weights, their shapes by node, and what is written in place."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stagewhisper.compiler.node_flops import NodeFacts

if TYPE_CHECKING:
    import onnx_ir as ir

_GATHERS = frozenset({"Gather", "GatherBlockQuantized"})


@dataclass(frozen=True)
class GraphFacts:
    """A graph's weights and aliases."""

    weight_bytes: int
    """Of all weights that a call reads whole; tables of which it takes rows are not among them."""
    table_readers: frozenset[str]
    """Names of the nodes that take rows from those tables."""
    nodes: dict[str, NodeFacts]
    aliases: dict[str, str]
    """Outputs by the inputs that they are written over: caches of fixed length."""


def graph_facts(path: Path) -> GraphFacts:
    """The facts of the graph in the file `path`; no weight is read."""
    import onnx_ir as ir  # takes over a second

    from stagewhisper.compiler.graph_tools import aliases_of

    graph = ir.load(path).graph
    tables = {name for name, value in graph.initializers.items() if _is_table(value)}
    whole = (value.const_value for name, value in graph.initializers.items() if name not in tables)
    readers = (node.name for node in graph if node.inputs and node.inputs[0] and node.inputs[0].name in tables)
    return GraphFacts(
        weight_bytes=sum(tensor.nbytes for tensor in whole if tensor is not None),
        table_readers=frozenset(name for name in readers if name),
        nodes={node.name: _facts(node) for node in graph if node.name},
        aliases=aliases_of(graph),
    )


def _is_table(value: "ir.Value") -> bool:
    """Whether only rows of this weight are read."""
    uses = value.uses()
    return bool(uses) and all(node.op_type in _GATHERS and index == 0 for node, index in uses)


def _facts(node: "ir.Node") -> NodeFacts:
    weights = (value.const_value for value in node.inputs if value is not None and value.is_initializer())
    level = node.attributes.get("accuracy_level")
    return NodeFacts(
        weight_shapes=tuple(tuple(tensor.shape.numpy()) for tensor in weights if tensor is not None),
        accuracy_level=0 if level is None else level.as_int(),
    )
