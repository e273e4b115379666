"""Keep the caches of GroupQueryAttention in 8 bits: x ≈ scale · int8, with one scale per cache or per channel.

    past_self_k_0 int8, scales ─► GroupQueryAttention ─► present_self_k_0 int8

The operator rounds new keys and values to the scale, and clips them to −128 and 127.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    add_initializer,
    attribute_of,
    constant_of,
    input_of,
    nodes_of,
    static_dim,
)
from stagewhisper.errors import CompilerError

_SMALLEST, _LARGEST = -128, 127
_FREE = np.int8(_SMALLEST)
"""What comparisons fill the free positions of a buffer with: keys of which all channels are clipped do not occur."""

_UNFILLED = 0.6181640625  # as `make_kv_cache_static` marks them
_PAST_K, _PAST_V, _K_SCALE, _V_SCALE = 3, 4, 12, 13

Scales = Mapping[str, float | Sequence[float]]
"""By the name of the graph's input: one number, or one for each of n_head · head_dim channels."""


def write_scales(path: Path, caches: Arrays, *, margin: float = 1.25, per_channel: bool = True) -> None:
    """Write scales for caches like these, [n_seq, n_head, n_past, head_dim] by name of the input, into a JSON file.

    What is up to `margin` times the largest number seen is kept; larger ones are clipped.
    """
    scales = {}
    for name, array in caches.items():
        largest = np.abs(array).max(axis=(0, 2)) * margin / _LARGEST
        largest = np.maximum(largest, np.finfo(np.float32).tiny)  # a channel that is always 0
        scales[name] = largest.ravel().tolist() if per_channel else float(largest.max())
    path.write_text(json.dumps(scales), encoding="utf-8")


def read_scales(path: Path) -> Scales:
    """What `write_scales` wrote.

    Raises:
        CompilerError: the file cannot be read, or is no such file.
    """
    try:
        scales = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompilerError(f"The scales of the caches in {path} cannot be read: {error}") from error
    entries = list(scales.values()) if isinstance(scales, dict) else [None]
    numbers = [number for entry in entries for number in (entry if isinstance(entry, list) else [entry])]
    if not all(isinstance(number, int | float) for number in numbers):
        raise CompilerError(f"{path} is no JSON object with a number or a list of numbers for every cache.")
    found: Scales = scales
    return found


def quantize_caches(graph: ir.Graph, scales: Scales) -> int:
    """How many caches of the graph's GroupQueryAttention became int8; those that are already stay.

    Raises:
        CompilerError: a cache's input has no scale, or a wrong one.
    """
    count = 0
    for node in nodes_of(graph, "GroupQueryAttention", domain=MICROSOFT):
        past = [input_of(node, _PAST_K), input_of(node, _PAST_V)]
        present = list(node.outputs[1:3])
        if any(value is None or not value.is_graph_input() or value.dtype == ir.DataType.INT8 for value in past):
            continue
        if any(len(value.uses()) > _n_shapes(value) + 1 for value in past if value is not None):
            continue  # someone else reads the cache's numbers
        if len(present) < 2 or any(not value.is_graph_output() or value.uses() for value in present):
            continue
        arrays = [_scale(node, value, scales) for value in past if value is not None]
        _quantize(graph, node, arrays)
        for value in (*past, *present):
            if value is not None:
                value.dtype = ir.DataType.INT8
        count += 2
    return count


def quantize_past(inputs: Arrays, graph: ir.Graph) -> Arrays:
    """Inputs in which the caches are what the graph says that they are."""
    found = dict(inputs)
    for node in nodes_of(graph, "GroupQueryAttention", domain=MICROSOFT):
        for index, place in ((_PAST_K, _K_SCALE), (_PAST_V, _V_SCALE)):
            past, scale = input_of(node, index), constant_of(input_of(node, place))
            if past is not None and scale is not None and (past.name or "") in found:
                array = found[past.name or ""]
                if array.dtype != np.int8:
                    found[past.name or ""] = _rounded(array, scale)
    return found


def forget_present(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001  the signature of all adapters
    """Outputs in which int8 caches are NaN, so that they are not compared; free positions stay marked as such."""
    return {
        name: np.where((array == _FREE).all(axis=-1, keepdims=True), np.float32(_UNFILLED), np.float32(np.nan))
        * np.ones(array.shape, np.float32)
        if array.dtype == np.int8
        else array
        for name, array in outputs.items()
    }


def _rounded(array: np.ndarray, scale: np.ndarray) -> np.ndarray:
    _, n_head, _, head_dim = array.shape
    per_channel = scale.reshape(1, n_head, 1, head_dim) if scale.size > 1 else scale
    levels = np.clip(np.round(array.astype(np.float32) / per_channel), _SMALLEST, _LARGEST).astype(np.int8)
    free = (array == array.dtype.type(_UNFILLED)).all(axis=(0, 1, 3), keepdims=True)
    return np.where(free, _FREE, levels)


def _n_shapes(value: ir.Value) -> int:
    return sum(use.node.op_type == "Shape" for use in value.uses())


def _scale(node: ir.Node, past: ir.Value, scales: Scales) -> np.ndarray:
    name = past.name or ""
    if name not in scales:
        raise CompilerError(
            f"group_query_attention got cache_scales, but none for the input {name!r}. "
            f"Give one for every cache, from calibration; they were given for {sorted(scales) or 'none'}."
        )
    array = np.asarray(scales[name], np.float32).ravel()
    n_head, head_dim = int(attribute_of(node, "kv_num_heads")), static_dim(past, 3)
    if array.size not in (1, n_head * (head_dim or 0)):
        raise CompilerError(
            f"The scales for {name!r} are {array.size} numbers: give one, or one for each of its "
            f"{n_head} · {head_dim} channels."
        )
    if not (np.isfinite(array) & (array > 0)).all():
        raise CompilerError(f"The scales for {name!r} must be numbers above 0; the smallest is {array.min()}.")
    return array.reshape(1, n_head, 1, -1) if array.size > 1 else array


def _quantize(graph: ir.Graph, node: ir.Node, scales: Sequence[np.ndarray]) -> None:
    inputs = [*node.inputs, *([None] * (_V_SCALE + 1 - len(node.inputs)))]
    node.resize_inputs(len(inputs))
    for letter, index, array in zip("kv", (_K_SCALE, _V_SCALE), scales, strict=True):
        node.replace_input_with(index, add_initializer(graph, f"{letter}_scale", array))
        kind = "PER_TENSOR" if array.size == 1 else "PER_CHANNEL"
        node.attributes[f"{letter}_quant_type"] = ir.AttrString(f"{letter}_quant_type", kind)
    node.attributes["kv_cache_bit_width"] = ir.AttrInt64("kv_cache_bit_width", 8)
