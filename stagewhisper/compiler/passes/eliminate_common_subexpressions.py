"""Compute once what is computed several times.

    before   x ─► Shape ─► a        x ─► Shape ─► b        two equal constants
    after    x ─► Shape ─► a, b                            one

Two nodes are the same when operator, attributes and inputs are; for Add, Mul and their like the order of the inputs
does not count. Small constants are compared by value, large ones by where they are stored.
Declines for random operators, for those of unknown domains, for nodes with graphs inside, and for two outputs of the
graph that are the same: each needs a node of its own. ONNX IR's own pass of this name would take the type off an
output whose twin has none noted, and knows no order of inputs.
"""

from collections.abc import Hashable, Iterable

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import MICROSOFT, nodes_of, replace_value, tensor_of

_COMMUTATIVE = frozenset({"Add", "And", "Equal", "Mul", "Or", "Xor"})
_RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_DOMAINS = ("", "ai.onnx", MICROSOFT)


def eliminate_common_subexpressions(graph: ir.Graph, *, max_bytes: int = 4096) -> int:
    """Merge equal constants and equal nodes; returns how many went.

    Constants up to `max_bytes` are read and compared by value.
    """
    return _merge_constants(graph, max_bytes) + _merge_nodes(graph)


def _merge_constants(graph: ir.Graph, max_bytes: int) -> int:
    """Initializers and Constant nodes alike; the first of equal ones stays."""
    constants = [*graph.initializers.values(), *(node.outputs[0] for node in nodes_of(graph, "Constant"))]
    kept: dict[Hashable, ir.Value] = {}
    merged = 0
    for value in constants:
        key = None if value.is_graph_output() else _constant_key(value, max_bytes)
        first = value if key is None else kept.setdefault(key, value)
        if first is value:
            continue
        value.replace_all_uses_with(first)
        source = value.producer()
        if source is not None:
            graph.remove(source, safe=True)
        elif value.name is not None:
            graph.initializers.pop(value.name)
        merged += 1
    return merged


def _constant_key(value: ir.Value, max_bytes: int) -> Hashable:
    tensor = tensor_of(value)
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        return None
    kind = (tensor.dtype, tuple(tensor.shape))
    if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes > max_bytes:
        return (*kind, str(tensor.path), tensor.offset, tensor.length)
    return (*kind, tensor.tobytes()) if tensor.nbytes <= max_bytes else (*kind, id(tensor))


def _merge_nodes(graph: ir.Graph) -> int:
    kept: dict[Hashable, ir.Node] = {}
    merged = 0
    for node in tuple(graph):
        key = _node_key(node)
        first = node if key is None else kept.setdefault(key, node)
        if first is node or any(_both_seen(pair) for pair in zip(node.outputs, first.outputs, strict=True)):
            continue
        for old, new in zip(node.outputs, first.outputs, strict=True):
            replace_value(graph, old, new)
        graph.remove(node, safe=True)
        merged += 1
    return merged


def _both_seen(values: Iterable[ir.Value]) -> bool:
    return all(value.is_graph_output() for value in values)


def _node_key(node: ir.Node) -> Hashable:
    if node.domain not in _DOMAINS or node.op_type in _RANDOM or node.op_type == "Constant":
        return None
    attributes = tuple(sorted((name, _attribute_key(value)) for name, value in node.attributes.items()))
    if any(value is None for _, value in attributes):
        return None
    inputs = [id(value) for value in node.inputs]
    if node.op_type in _COMMUTATIVE:
        inputs.sort()
    present = tuple(bool(output.name) for output in node.outputs)
    return node.op_identifier(), tuple(inputs), attributes, present


def _attribute_key(attribute: ir.Attr) -> str | None:
    """The attribute's type and value as text; None for graphs and references, which are not compared."""
    if attribute.is_ref() or attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return None
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return f"{tensor.dtype} {list(tensor.shape)} {tensor.tobytes().hex()}"
    return f"{attribute.type} {attribute.value!r}"
