"""Which values of a graph have equally many rows (the length of their first axis), whatever that number is.

tokens [n_seq, n_new] ─► Gather ─► Add ─► LayerNormalization ─► MatMul ─► …    all have the rows "n_seq"
"""

from collections.abc import Hashable, Mapping

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, input_of, ints_of, is_op, rank_of, tensor_of
from stagewhisper.compiler.lengths import Length, Number, Quotient, known_rank, numbers_of

_LIKE_FIRST = ("Cast", "Erf", "Gelu", "Identity", "IsNaN", "LayerNormalization", "Softmax", "Sqrt", "Tanh")
_ELEMENTWISE = ("Add", "Div", "Mul", "Sub")
_EXPAND = ("Expand", "Tile")

RowKeys = Mapping[ir.Value, Hashable]
"""Two values with equal keys have equally many rows; with different keys, nothing is known."""


def row_keys(graph: ir.Graph) -> dict[ir.Value, Hashable]:
    """The key of every input and of every output of a node."""
    keys: dict[ir.Value, Hashable] = {value: _input_key(value) for value in graph.inputs}
    for node in graph:
        for output in node.outputs:
            keys[output] = ("rows of", id(output))
        key = _key(node, keys)
        if key is not None and node.outputs:
            keys[node.outputs[0]] = key
    return keys


def _input_key(value: ir.Value) -> Hashable:
    """A length that the graph fixes or names; ONNX says that the same name means the same length."""
    shape = value.shape
    if shape is None or len(shape) == 0:
        return ("rows of", id(value))
    if isinstance(shape[0], int):
        return shape[0]
    name = shape[0].value
    return ("rows of", id(value)) if name is None else name


def _key(node: ir.Node, keys: RowKeys) -> Hashable:
    source = input_of(node, 0)
    if source is None:
        return None
    if is_op(node, *_LIKE_FIRST):
        return keys.get(source)
    if is_op(node, *_ELEMENTWISE):
        return _common([value for value in node.inputs if not _adds_no_rows(value)], keys)
    if is_op(node, "MatMul"):
        return _common([value for value in node.inputs if tensor_of(value) is None or (rank_of(value) or 3) > 2], keys)
    if is_op(node, "Transpose"):
        return keys.get(source) if (attribute_of(node, "perm") or [None])[0] == 0 else None
    if is_op(node, "Unsqueeze"):
        return keys.get(source) if min(ints_of(input_of(node, 1)) or [0]) > 0 else None
    if is_op(node, "Gather") and attribute_of(node, "axis", 0) == 0 and tensor_of(source) is not None:
        indices = input_of(node, 1)
        return None if indices is None else keys.get(indices)
    if is_op(node, "Reshape"):
        return _reshaped(node, source, keys)
    return _expanded(node, source, keys) if is_op(node, *_EXPAND) else None


def _reshaped(node: ir.Node, source: ir.Value, keys: RowKeys) -> Hashable:
    target = numbers_of(input_of(node, 1))
    if not target:
        return None
    if target[0] == 0 and not attribute_of(node, "allowzero", 0):
        return keys.get(source)
    if target[0] != -1:
        return number_key(target[0], keys)
    expand = source.producer()  # [n_audio, n_group, ..] → [n_audio · n_group, ..]
    repeats = numbers_of(input_of(expand, 1)) if expand is not None and is_op(expand, *_EXPAND) else None
    if expand is None or repeats is None or len(repeats) != len(target) + 1:
        return None
    inner = input_of(expand, 0)
    if inner is None or 1 not in repeats[:2]:
        return None
    return times(keys.get(inner), repeats[1] if repeats[0] == 1 else repeats[0], keys)


def _expanded(node: ir.Node, source: ir.Value, keys: RowKeys) -> Hashable:
    repeats = numbers_of(input_of(node, 1))
    if repeats is None or known_rank(source) != len(repeats) or not repeats:
        return None
    if repeats[0] == 1:
        return keys.get(source)
    return number_key(repeats[0], keys) if keys.get(source) == 1 else None


def times(rows: Hashable, count: Number, keys: RowKeys) -> Hashable:
    """The key of `count` times as many rows."""
    if isinstance(count, Quotient) and number_key(count.divisor, keys) == rows:
        return number_key(count.dividend, keys)
    if rows == 1:
        return number_key(count, keys)
    if isinstance(rows, int) and isinstance(count, int):
        return rows * count
    return rows if count == 1 else ("times", rows, number_key(count, keys))


def number_key(number: Number, keys: RowKeys) -> Hashable:
    """The key of a value with this number of rows."""
    if isinstance(number, Length):
        return keys.get(number.of) if number.axis == 0 else number
    return number


def _common(values: list[ir.Value | None], keys: RowKeys) -> Hashable:
    """The key that all of them have; they are broadcast, so a smaller one must not hide a larger one."""
    found = {None if value is None else keys.get(value) for value in values}
    return found.pop() if len(found) == 1 else None


def _adds_no_rows(value: ir.Value | None) -> bool:
    """Whether this constant's first axis cannot be the result's, or is 1."""
    tensor = tensor_of(value)
    if tensor is None:
        return False
    return len(tensor.shape) <= 1 or tensor.shape[0] == 1
