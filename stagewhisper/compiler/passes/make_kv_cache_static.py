"""Turn the self-attention's growing keys and values into buffers of fixed length that are written in place.

    before   past [.., n_past, head_dim] ─► Concat(past, new) ─► present ─► attention
             Shape(past) ─► Gather ─► n_past ─► positions, mask
    after    past [.., length, head_dim] ─► ScatterND(past, at n_past .., new) ─► present [.., length, head_dim]
             present ─► Slice [: n_past + n_new] ─► attention
             n_past, a new input ─► positions, mask

Bind past and present to one buffer, and a call writes its new positions there and copies none of the others (the pair
is noted by `graph_tools.alias`); with two buffers the numbers are the same. Attention reads the filled part only, so
a step costs what its position asks for.

Declines when a cache does anything else than grow and be asked for its shape, when not all inputs with the same free
length are such caches, and when the graph does not tell how long the cache can get and `length` does not either.

Source: the aliasing of TPU-MLIR's static KV cache; ONNX operator ScatterND.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.cache_span import Span, cache_span
from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.graph_tools import (
    add_initializer,
    alias,
    aliases_of,
    new_op,
    remove_unused,
    replace_value,
    static_dim,
    unique_name,
)
from stagewhisper.compiler.growing_cache import (
    AXIS,
    GrowingCache,
    growing_caches,
    length_readers,
    max_positions,
    reads_only,
)
from stagewhisper.errors import OptionError

N_PAST = "n_past"
"""The new input: int64 scalar, the positions that are filled before the call, the same for all sequences."""

UNFILLED = 0.6181640625
"""What comparisons fill a buffer's free positions with: a number of a cache's size, but one that no cache holds;
float16 has it exactly, so that it is recognised after a conversion."""


def _pad(inputs: Arrays, graph: ir.Graph) -> Arrays:
    """The growing caches in buffers of the graph's length, and how much of them is filled."""
    buffers = {value.name: value for value in graph.inputs if value.name in aliases_of(graph)}
    padded, n_past = dict(inputs), 0
    for name, array in inputs.items():
        length = static_dim(buffers[name], AXIS) if name in buffers else None
        if length is None or length == array.shape[AXIS]:
            continue
        n_past = array.shape[AXIS]
        widths = [(0, 0)] * array.ndim
        widths[AXIS] = (0, length - n_past)
        padded[name] = np.pad(array, widths, constant_values=array.dtype.type(UNFILLED))
    return padded | {N_PAST: np.asarray(n_past, np.int64)}


def _cut(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001  the signature of all adapters
    """Buffers without the positions that are not filled yet."""
    return {name: array[..., : _n_filled(array), :] if array.ndim > 2 else array for name, array in outputs.items()}


def _n_filled(array: np.ndarray) -> int:
    other_axes = tuple(axis for axis in range(array.ndim) if axis != array.ndim + AXIS)
    filled = np.flatnonzero((array != array.dtype.type(UNFILLED)).any(axis=other_axes))
    return int(filled[-1]) + 1 if len(filled) else 0


@declares(adapt_inputs=_pad, adapt_outputs=_cut)
def make_kv_cache_static(graph: ir.Graph, *, length: int | None = None) -> int:
    """Give every growing cache a buffer of `length` positions; returns how many caches there were.

    Without `length` they get as many positions as the positional embedding has. A call that goes past the end of the
    buffers fails in ONNX Runtime: nothing is overwritten.

    Raises:
        OptionError: `length` is less than 1, or more than the positional embedding has.
    """
    if length is not None and length < 1:
        raise OptionError(f"make_kv_cache_static got length {length}; a cache needs at least 1 position.")
    caches = growing_caches(graph)
    limit = max_positions(caches)
    if length is not None and caches and limit is not None and length > limit:
        raise OptionError(
            f"make_kv_cache_static got length {length}, but the positional embedding ends after {limit} positions: "
            f"give at most {limit}, or none to get {limit}."
        )
    length = length or limit
    if length is None or not caches or unique_name(graph, N_PAST) != N_PAST:
        return 0
    n_past = ir.val(N_PAST, ir.DataType.INT64, [])
    graph.inputs.append(n_past)
    spans: dict[tuple[str, ...], Span] = {}
    for cache in caches:
        _read_length_from(graph, cache, n_past)
        shape = _other_lengths(cache.past)
        if shape not in spans:
            spans[shape] = cache_span(graph, cache, n_past)
        _write_in_place(graph, cache, spans[shape], length)
    return len(caches)


def _read_length_from(graph: ir.Graph, cache: GrowingCache, n_past: ir.Value) -> None:
    """Whoever took the number of past positions from the cache's shape takes it from `n_past`."""
    for shape, place, n_axes in length_readers(cache):
        users = [use.node for use in shape.outputs[0].uses()]
        scalars = [node for node in users if reads_only(node, place, n_axes)]
        for node in scalars:
            replace_value(graph, node.outputs[0], n_past)
        if len(scalars) < len(users):
            others = [node for node in users if node not in scalars]
            _replace_element(graph, shape, place, n_axes, others, n_past)
        remove_unused(graph, *scalars, shape)


def _replace_element(
    graph: ir.Graph, shape: ir.Node, place: int, n_axes: int, users: Sequence[ir.Node], n_past: ir.Value
) -> None:
    """Give `users` the vector that `shape` makes, but with `n_past` at `place`."""
    vector = shape.outputs[0]
    after = graph[graph.index(shape) + 1]
    parts = [new_op(graph, after, "Reshape", n_past, add_initializer(graph, "n_past_shape", np.asarray([1])))]
    if place > 0:
        before = add_initializer(graph, "axes_before", np.arange(place))
        parts.insert(0, new_op(graph, after, "Gather", vector, before, axis=0))
    if place + 1 < n_axes:
        behind = add_initializer(graph, "axes_behind", np.arange(place + 1, n_axes))
        parts.append(new_op(graph, after, "Gather", vector, behind, axis=0))
    changed = new_op(graph, after, "Concat", *parts, axis=0)
    for node in users:
        for index, value in enumerate(node.inputs):
            if value is vector:
                node.replace_input_with(index, changed)


def _other_lengths(past: ir.Value) -> tuple[str, ...]:
    dims = [str(dim) for dim in past.shape or ()]
    del dims[AXIS]
    return tuple(dims)


def _write_in_place(graph: ir.Graph, cache: GrowingCache, span: Span, length: int) -> None:
    concat, present, past = cache.concat, cache.present, cache.past
    written = new_op(graph, concat, "ScatterND", past, span.indices, cache.new)
    uses = list(present.uses())
    if uses:
        filled = new_op(graph, concat, "Slice", written, span.start, span.end, span.axis)
        for node, index in uses:
            node.replace_input_with(index, filled)
    replace_value(graph, present, written)
    remove_unused(graph, concat)
    dims = list(past.shape or ())
    dims[AXIS] = length
    past.shape, written.shape = ir.Shape(dims), ir.Shape(dims)
    alias(graph, past.name or "", written.name or "")
