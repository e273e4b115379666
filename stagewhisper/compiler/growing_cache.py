"""Find the caches of a decoder that grow by a Concat, what reads their length, and how long they can get."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, ints_of, is_op, rank_of, static_dim, tensor_of

AXIS = -2
"""The axis of positions: [n_seq, n_head, n_past, head_dim] as in most exports, or [n_seq, n_past, n_state]."""

# What becomes of a length on its way to being positions.
_ARITHMETIC = ("Add", "Cast", "Concat", "Expand", "Identity", "Range", "Reshape", "Squeeze", "Sub", "Tile", "Unsqueeze")

_NUMBERED = re.compile(r"s\d+|unk__\d+|None")


@dataclass(frozen=True)
class GrowingCache:
    """past ─► Concat(past, new) ─► present, which is an output of the graph."""

    past: ir.Value
    concat: ir.Node
    new: ir.Value
    shapes: tuple[ir.Node, ...]
    """The Shape nodes that ask for the size of `past`."""

    @property
    def present(self) -> ir.Value:
        """Past and new positions."""
        return self.concat.outputs[0]


def growing_caches(graph: ir.Graph) -> list[GrowingCache]:
    """The graph's caches, in the order of their Concats.

    None at all when an input whose length has the same name does not grow like the others: they would get out of step.
    """
    found = {value: cache for value in graph.inputs if (cache := _growing_cache(graph, value)) is not None}
    lengths = {_length_of(value) for value in found}
    others = {_length_of(value) for value in graph.inputs if value not in found}
    if len({_spoken(length) for length in lengths}) != 1 or lengths & others:
        return []
    places = {node: index for index, node in enumerate(graph)}
    return sorted(found.values(), key=lambda cache: places[cache.concat])


def max_positions(caches: Sequence[GrowingCache]) -> int | None:
    """Rows of the positional embedding that is read at positions made from the caches' length; None without one."""
    waiting = [shape.outputs[0] for cache in caches for shape in cache.shapes]
    rows, seen = [], set(waiting)
    while waiting:
        for node, index in waiting.pop().uses():
            table = _table_read(node, index)
            if table is not None:
                rows.append(table)
            elif is_op(node, *_ARITHMETIC) or (is_op(node, "Gather", "Slice") and index == 0):
                waiting += [output for output in node.outputs if output not in seen]
                seen.update(node.outputs)
    return min(rows, default=None)


def length_readers(cache: GrowingCache) -> Iterator[tuple[ir.Node, int, int]]:
    """(Shape node, where in its output the length stands, how many it gives) of those that ask for `past`'s length."""
    rank = rank_of(cache.past)
    for shape in cache.shapes:
        start, end = attribute_of(shape, "start", 0), attribute_of(shape, "end")
        axes = range(rank or 0)[start:end]
        if rank is not None and rank + AXIS in axes:
            yield shape, axes.index(rank + AXIS), len(axes)


def reads_only(node: ir.Node, place: int, n_elements: int) -> bool:
    """Whether `node` takes the single element at `place`, as a scalar, out of a vector of `n_elements`."""
    if not is_op(node, "Gather") or len(node.inputs) != 2:
        return False
    tensor, numbers = tensor_of(node.inputs[1]), ints_of(node.inputs[1])
    return tensor is not None and len(tensor.shape) == 0 and numbers in ([place], [place - n_elements])


def _growing_cache(graph: ir.Graph, past: ir.Value) -> GrowingCache | None:
    rank = rank_of(past)
    if rank is None or rank < 3 or past.is_initializer() or past.is_graph_output() or _length_of(past) is None:
        return None
    users = list(_users(past))
    concats = [node for node in users if is_op(node, "Concat")]
    shapes = [node for node in users if is_op(node, "Shape")]
    if len(concats) != 1 or len(concats) + len(shapes) != len(users) or any(node.graph is not graph for node in users):
        return None
    concat = concats[0]
    new = concat.inputs[1] if len(concat.inputs) == 2 else None
    grows = attribute_of(concat, "axis") in (AXIS, rank + AXIS) and concat.outputs[0].is_graph_output()
    if new is None or not grows or new in _copies(past):
        return None
    return GrowingCache(past, concat, new, tuple(shapes))


def _users(value: ir.Value) -> Iterator[ir.Node]:
    """Who uses the value, or a copy of it."""
    for copy in _copies(value):
        yield from (node for node, _ in copy.uses() if not _is_copy(node))


def _copies(value: ir.Value) -> list[ir.Value]:
    """The value and what is the same: exporters write Identity, and a Concat of one thing."""
    copies = [value]
    for copy in copies:  # grows while it runs
        copies += [node.outputs[0] for node, _ in copy.uses() if _is_copy(node)]
    return copies


def _is_copy(node: ir.Node) -> bool:
    copies = is_op(node, "Identity") or (is_op(node, "Concat") and len(node.inputs) == 1)
    return copies and not node.outputs[0].is_graph_output()


def _length_of(value: ir.Value) -> str | None:
    """What the graph calls the free length of a cache; None where it is fixed or there is no such axis."""
    rank = rank_of(value)
    if value.shape is None or rank is None or rank < 3 or isinstance(value.shape[AXIS], int):
        return None
    return str(value.shape[AXIS])


def _spoken(length: str | None) -> str:
    """A length's name if somebody chose it. torch.export counts (s25, s81), and gives equal lengths other numbers."""
    return "" if length is None or _NUMBERED.fullmatch(length) else length


def _table_read(node: ir.Node, index: int) -> int | None:
    """Rows of a constant matrix of floats from which the node takes those that its input `index` says."""
    if not (is_op(node, "Gather", "GatherND") and index == 1) and not (is_op(node, "Slice") and index in (1, 2)):
        return None
    table = tensor_of(node.inputs[0])
    if table is None or len(table.shape) != 2 or not table.dtype.is_floating_point():
        return None
    axes = ints_of(node.inputs[3]) if is_op(node, "Slice") and len(node.inputs) > 3 else [attribute_of(node, "axis", 0)]
    return static_dim(node.inputs[0], 0) if axes == [0] else None
