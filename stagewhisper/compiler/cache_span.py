"""Where one call writes its new keys and values in buffers of fixed length, and how far it reads them."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import add_initializer, new_op, rank_of, static_dim
from stagewhisper.compiler.growing_cache import AXIS, GrowingCache


@dataclass(frozen=True)
class Span:
    """Where one call writes and how far it reads, for all caches of one shape."""

    indices: ir.Value
    """int64 [n_seq, n_head, n_new, 3], the place of every new row; [n_seq, n_new, 2] in caches of three axes."""
    start: ir.Value
    end: ir.Value
    axis: ir.Value


def cache_span(graph: ir.Graph, cache: GrowingCache, n_past: ir.Value) -> Span:
    """Computed just before the cache's Concat, from the shape of what it is given.

    Caches of one shape share it: all layers see the same new tokens. If some did not, ScatterND would refuse them.
    """
    rank = rank_of(cache.past) or 0
    axis, before = rank + AXIS, cache.concat
    one = add_initializer(graph, "cache_one", np.asarray(1))
    first = add_initializer(graph, "cache_start", _ints(0))

    def op(op_type: str, *inputs: ir.Value, axis: int | None = None) -> ir.Value:
        return new_op(graph, before, op_type, *inputs, axis=axis)

    sizes = op("Shape", cache.new)
    n_new = op("Gather", sizes, add_initializer(graph, "cache_axis", np.asarray(axis)), axis=0)
    n_total = op("Add", n_past, n_new)
    rows = op("Gather", sizes, add_initializer(graph, "cache_row_axes", np.arange(axis + 1)), axis=0)
    grid = op("Concat", rows, add_initializer(graph, "cache_coordinate", _ints(1)), axis=0)
    coordinates = []
    for index in range(axis + 1):
        if index == axis:
            numbers = op("Range", n_past, n_total, one)
        else:
            numbers = _all_along(graph, before, cache.past, index, sizes, one)
        line = add_initializer(graph, f"cache_line_{index}", _ints(*(-1 if i == index else 1 for i in range(rank))))
        coordinates.append(op("Expand", op("Reshape", numbers, line), grid))
    return Span(
        indices=op("Concat", *coordinates, axis=-1),
        start=first,
        end=op("Reshape", n_total, add_initializer(graph, "cache_end_shape", _ints(1))),
        axis=add_initializer(graph, "cache_axes", _ints(axis)),
    )


def _all_along(graph: ir.Graph, before: ir.Node, past: ir.Value, axis: int, sizes: ir.Value, one: ir.Value) -> ir.Value:
    """0, 1, … to the end of one axis, [length of the axis]."""
    size = static_dim(past, axis)
    if size is not None:
        return add_initializer(graph, f"cache_along_{axis}", np.arange(size))
    zero = add_initializer(graph, "cache_zero", np.asarray(0))
    number = new_op(graph, before, "Gather", sizes, add_initializer(graph, "cache_axis", np.asarray(axis)), axis=0)
    return new_op(graph, before, "Range", zero, number, one)


def _ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)
