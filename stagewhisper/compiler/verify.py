"""Is a graph legal? Checked after every pass, without running it and without reading a weight.

    names     every value has one, and no two share it
    order     a node's inputs exist before it: inputs of the graph, initializers, outputs of earlier nodes
    outputs   made inside the graph, typed, and named once
    weights   every initializer has a tensor of its own type and shape
    domains   every operator's domain is imported
    onnx      ONNX's own checker: operators, their attributes and the number of their inputs

Operators of ONNX Runtime are beyond ONNX's checker: what they demand shows when ONNX Runtime loads the graph, which
`equivalence.py` does.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass

from stagewhisper.errors import CompilerError

_SHOWN = 3


def verify(model: ir.Model) -> None:
    """Nothing, if the model's graph is legal.

    Raises:
        CompilerError: it is not; the message tells where.
    """
    problems = list(problems_of(model.graph))
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise CompilerError(f"The graph {model.graph.name!r} is not legal: {'; '.join(problems[:_SHOWN])}{more}.")
    try:
        CheckerPass()(model)
    except Exception as error:
        raise CompilerError(f"The graph {model.graph.name!r} is not legal: {error}") from error


def problems_of(graph: ir.Graph) -> Iterator[str]:
    """What is wrong with the graph's structure, one sentence's part each."""
    yield from _wrong_names(graph)
    yield from _wrong_order(graph, outer=set())
    yield from _wrong_outputs(graph)
    yield from _wrong_initializers(graph)
    yield from _wrong_domains(graph)


def _wrong_names(graph: ir.Graph) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for value, made_by in _defined_values(graph):
        if not value.name:
            yield f"a value of {made_by} has no name"
        else:
            counts[value.name] += 1
    for name, count in counts.items():
        if count > 1:
            yield f"{count} values are named {name!r}"


def _defined_values(graph: ir.Graph) -> Iterator[tuple[ir.Value, str]]:
    """Every value of the graph and its subgraphs once, with words for what makes it."""
    for inner in (graph, *graph.subgraphs()):
        seen = {id(value): (value, "the graph's inputs") for value in inner.inputs}
        seen |= {id(value): (value, "the initializers") for value in inner.initializers.values()}
        yield from seen.values()
        for node in inner:
            yield from ((output, _named(node)) for output in node.outputs if _is_made(output))


def _is_made(output: ir.Value) -> bool:
    """Whether a node's output is there at all: an optional one without a name that nobody reads is left out."""
    return bool(output.name or output.uses() or output.is_graph_output())


def _wrong_order(graph: ir.Graph, *, outer: set[int]) -> Iterator[str]:
    known = outer | _ids(graph.inputs) | _ids(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and id(value) not in known:
                yield f"{_named(node)} reads {value.name!r}, which {_why_unknown(value, graph)}"
        for inner in _subgraphs(node):
            yield from _wrong_order(inner, outer=known)
        known |= _ids(node.outputs)
    for value in graph.outputs:
        if id(value) not in known:
            yield f"the output {value.name!r} {_why_unknown(value, graph)}"


def _why_unknown(value: ir.Value, graph: ir.Graph) -> str:
    source = value.producer()
    if source is None:
        return "is neither an input nor an initializer, and no node makes it"
    if source.graph is None:
        return f"was made by {_named(source)}, which is not in the graph any more"
    return f"is made only later, by {_named(source)}" if source.graph is graph else "belongs to another graph"


def _wrong_outputs(graph: ir.Graph) -> Iterator[str]:
    if not graph.outputs:
        yield "it has no outputs"
    for value in graph.outputs:
        if value.type is None or value.dtype is None:
            yield f"the output {value.name!r} has no type"
    counts = Counter(id(value) for value in graph.outputs)
    if any(count > 1 for count in counts.values()):
        yield "an output stands in it twice"


def _wrong_initializers(graph: ir.Graph) -> Iterator[str]:
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            yield f"the initializer {name!r} has no tensor"
            continue
        if value.dtype is not None and value.dtype != tensor.dtype:
            yield f"the initializer {name!r} is said to be {value.dtype.name} and holds {tensor.dtype.name}"
        if value.shape is not None and list(value.shape) != list(tensor.shape):
            yield f"the initializer {name!r} is said to be {list(value.shape)} and holds {list(tensor.shape)}"


def _wrong_domains(graph: ir.Graph) -> Iterator[str]:
    imported = set(graph.opset_imports)
    for node in graph.all_nodes():
        if node.domain not in imported and node.domain != "ai.onnx":
            yield f"{_named(node)} is of the domain {node.domain!r}, which the graph does not import"


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _ids(values: Iterable[ir.Value]) -> set[int]:
    return {id(value) for value in values}


def _named(node: ir.Node) -> str:
    return f"the {node.op_type} {node.name!r}"
