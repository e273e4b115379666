"""The few verbs that passes are spelled with: look at a value, and put something else in its place.

Every function that looks answers None (or False) where the graph does not say; every function that edits keeps the
graph legal and the names of its outputs unchanged.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

ALIASES = "stagewhisper.aliases"
"""Key of the note, in a graph's metadata, of the inputs and outputs that share their memory: JSON, input to output."""

_SOURCES = "stagewhisper.sources"

# --- look ---------------------------------------------------------------------------------------------------------


def nodes_of(graph: ir.Graph, *op_types: str, domain: str = "") -> Iterator[ir.Node]:
    """The graph's nodes of these types, in order; nodes may be added and removed while it runs."""
    for node in tuple(graph):
        if node.graph is graph and is_op(node, *op_types, domain=domain):
            yield node


def is_op(node: ir.Node | None, *op_types: str, domain: str = "") -> bool:
    """Whether `node` is of one of these types."""
    return node is not None and node.op_type in op_types and _plain(node.domain) == domain


def producer(value: ir.Value | None, *op_types: str, domain: str = "") -> ir.Node | None:
    """The node that makes `value`, if it is of one of these types."""
    node = None if value is None else value.producer()
    return node if is_op(node, *op_types, domain=domain) else None


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """The node's input at `index`, or None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that uses `value` if it is used exactly once, and is no output of the graph."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether `value` is the same in every run."""
    return tensor_of(value) is not None


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer or of a Constant node, not read yet: ask it for `shape` and `dtype` for free."""
    if value is None or value.is_graph_input():  # an initializer that is an input too may be overridden
        return None
    if value.is_initializer():
        return value.const_value
    return ir.convenience.get_const_tensor(value) if producer(value, "Constant") else None


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """The constant as an array; this reads a whole weight from disk, so ask `tensor_of` about its shape first."""
    tensor = tensor_of(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | int | None:
    """The number in a constant of one element, whatever its rank; larger constants are not read."""
    tensor = tensor_of(value)
    if tensor is None or tensor.size != 1 or tensor.dtype == ir.DataType.STRING:
        return None
    number: float | int = tensor.numpy().reshape(()).item()
    return number


def ints_of(value: ir.Value | None) -> list[int] | None:
    """The whole numbers of a small constant: axes, a shape, a permutation."""
    tensor = tensor_of(value)
    if tensor is None or tensor.size > 64 or tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    return [int(number) for number in tensor.numpy().ravel()]


def constant_operand(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(constant, other) of a node with two inputs of which exactly one is constant."""
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None or is_constant(left) == is_constant(right):
        return None
    return (left, right) if is_constant(left) else (right, left)


def attribute_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """The plain value of an attribute: int, float, str, list; `default` where it is left out."""
    attribute = node.attributes.get(name)
    if attribute is None or attribute.is_ref():
        return default
    return list(attribute.value) if isinstance(attribute.value, list | tuple) else attribute.value


def rank_of(value: ir.Value | None) -> int | None:
    """The number of axes, if the graph says."""
    shape = _shape_of(value)
    return None if shape is None else len(shape)


def static_dim(value: ir.Value | None, axis: int) -> int | None:
    """The length of one axis, if the graph fixes it."""
    shape = _shape_of(value)
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    length = shape[axis]
    return length if isinstance(length, int) else None


def aliases_of(graph: ir.Graph) -> dict[str, str]:
    """Names of outputs by the names of the inputs that they are written over."""
    noted: dict[str, str] = json.loads(graph.metadata_props.get(ALIASES, "{}"))
    return noted


# --- edit ---------------------------------------------------------------------------------------------------------


def new_op(
    graph: ir.Graph,
    before: ir.Node,
    op_type: str,
    *inputs: ir.Value | None,
    domain: str = "",
    name: str = "",
    **attributes: Any,
) -> ir.Value:
    """The single output of a new node that stands just before `before`."""
    return new_node(graph, before, op_type, *inputs, domain=domain, name=name, **attributes).outputs[0]


def new_node(
    graph: ir.Graph,
    before: ir.Node,
    op_type: str,
    *inputs: ir.Value | None,
    domain: str = "",
    n_outputs: int = 1,
    name: str = "",
    **attributes: Any,
) -> ir.Node:
    """A new node just before `before`; attributes that are None are left out, and the domain is imported."""
    given = {key: value for key, value in attributes.items() if value is not None}
    node = ir.node(op_type, list(inputs), given, domain=domain, num_outputs=n_outputs, name=name or None)
    if name:
        for index, output in enumerate(node.outputs):
            output.name = unique_name(graph, name if n_outputs == 1 else f"{name}_{index}")
    use_domain(graph, domain)
    insert_node(graph, before, node)
    return node


def insert_node(graph: ir.Graph, before: ir.Node, node: ir.Node) -> None:
    """Put `node` just before `before`."""
    graph.insert_before(before, node)


def use_domain(graph: ir.Graph, domain: str = MICROSOFT) -> None:
    """Say that the graph has operators of this domain; ONNX's own is there from the start."""
    if domain:
        graph.opset_imports.setdefault(domain, 1)


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new constant; its name is `name`, with a number behind it where that is taken."""
    name = unique_name(graph, name)
    return _register(graph, ir.tensor(np.asarray(array, order="C"), name=name), name)


def derive_initializer(
    graph: ir.Graph,
    name: str,
    sources: Sequence[ir.Value],
    compute: Callable[..., np.ndarray],
    *,
    shape: Sequence[int],
    dtype: ir.DataType = ir.DataType.FLOAT,
) -> ir.Value:
    """A new constant that is computed from other constants when the graph is saved, so that no weight stays in memory.

        weight [768, 768] ─► compute(array) ─► new constant, of the given shape and dtype

    `compute` gets the sources' arrays in order. It must return the same numbers whenever it is called. For integers of
    4 bits it returns what `ir.tensor` takes (ml_dtypes).

    Raises:
        ValueError: a source is no constant.
    """
    tensors = [tensor_of(source) for source in sources]
    if any(tensor is None for tensor in tensors):
        raise ValueError(f"{name} is to be derived from a value that is no constant")
    name = unique_name(graph, name)

    def read() -> ir.TensorProtocol:
        array = compute(*(tensor.numpy() for tensor in tensors if tensor is not None))
        if array.shape != tuple(shape):
            raise ValueError(f"{name} was announced as {tuple(shape)} and is {array.shape}")
        return ir.tensor(np.asarray(array, order="C"), dtype=dtype, name=name)

    derived = _register(graph, ir.LazyTensor(read, dtype, ir.Shape(shape), name=name), name)
    derived.meta[_SOURCES] = tuple(name for source in sources for name in source_names(source))
    return derived


def source_names(value: ir.Value) -> tuple[str, ...]:
    """The names of the constants that a constant was derived from, through all passes; its own if from none."""
    names: tuple[str, ...] = value.meta.get(_SOURCES, (value.name or "",))
    return names


def replace_value(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Whoever used `old` uses `new` now; an output of the graph keeps its name, type and shape.

    Where `old` is an output and `new` cannot take its name (an input, a constant, another output), an Identity
    stands between them.
    """
    was_output = old.is_graph_output()
    if was_output:
        if new.producer() is None or new.is_graph_output():
            new = _through_identity(graph, old, new)
        name, old.name = old.name, unique_name(graph, f"{old.name}_replaced")
        new.name = name
    if old.shape is not None and (was_output or new.shape is None):
        new.shape = old.shape.copy()
    if old.type is not None and (was_output or new.type is None):
        new.type = old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def remove_unused(graph: ir.Graph, *nodes: ir.Node) -> int:
    """Remove these nodes where nothing uses them, and what fed only them; returns how many nodes went.

    Constants that nothing uses any more go with them. Inputs of the graph stay.
    """
    removed, waiting = 0, list(nodes)
    while waiting:
        node = waiting.pop()
        if node.graph is not graph or any(output.uses() or output.is_graph_output() for output in node.outputs):
            continue
        feeding = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        removed += 1
        for value in feeding:
            source = value.producer()
            if source is not None:
                waiting.append(source)
            elif value.is_initializer() and value.graph is graph:
                _remove_if_unused(graph, value)
    return removed


def unique_name(graph: ir.Graph, name: str) -> str:
    """`name`, or `name_1`, `name_2`, … where a value of the graph has it already."""
    taken = {value.name for value in graph.inputs} | set(graph.initializers)
    taken |= {output.name for node in graph.all_nodes() for output in node.outputs}
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def alias(graph: ir.Graph, input_name: str, output_name: str) -> None:
    """Note that this output is written over this input: whoever runs the graph binds both to one buffer."""
    graph.metadata_props[ALIASES] = json.dumps(aliases_of(graph) | {input_name: output_name})


def _through_identity(graph: ir.Graph, old: ir.Value, new: ir.Value) -> ir.Value:
    identity = ir.node("Identity", [new])
    source, place = new.producer(), old.producer()
    if source is not None:
        graph.insert_after(source, identity)
    elif place is not None:
        graph.insert_before(place, identity)
    else:
        raise ValueError(f"{old.name} is an input and an output of the graph: nothing makes it that could be replaced")
    return identity.outputs[0]


def _register(graph: ir.Graph, tensor: ir.TensorProtocol, name: str) -> ir.Value:
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _remove_if_unused(graph: ir.Graph, value: ir.Value) -> None:
    if not value.uses() and not value.is_graph_output() and not value.is_graph_input() and value.name is not None:
        graph.initializers.pop(value.name)


def _shape_of(value: ir.Value | None) -> ir.Shape | ir.ShapeProtocol | None:
    tensor = tensor_of(value)
    if tensor is not None:
        return tensor.shape
    return None if value is None else value.shape


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
