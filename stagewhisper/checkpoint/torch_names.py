"""The few names that a torch pickle may mention, and what to build for each. None is ever looked up.

    torch.*Storage                          a reference to bytes beside the pickle
    torch._utils._rebuild_tensor_v2         a tensor on such bytes
    torch._utils._rebuild_parameter(...)    the tensor inside
    collections.OrderedDict                 a dict

Source: torch/_utils.py and torch/serialization.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from stagewhisper.checkpoint.quoting import quoted

_STORAGE_TYPES = {
    "torch DoubleStorage": "float64",
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_REBUILD_PARAMETER = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
_KNOWN = {*_STORAGE_TYPES, _ORDERED_DICT, _REBUILD_TENSOR, *_REBUILD_PARAMETER}
_MOST_AXES = 8


class RefusedError(Exception):
    """A pickle asks for something that is not built; its reader turns this into a CheckpointError."""


@dataclass(frozen=True)
class Name:
    """A known name, as "module attribute"; it stands for itself only."""

    text: str


@dataclass(frozen=True)
class Storage:
    """Bytes that lie beside the pickle."""

    dtype: str
    key: str
    n_elements: int


class OrderedPairs(dict[object, object]):
    """What a `collections.OrderedDict` of the pickle becomes."""

    def __repr__(self) -> str:  # short, because a hostile one may hold itself, or a tree without end
        return f"an OrderedDict of {len(self)} items"


TensorMaker = Callable[[Storage, int, tuple[int, ...], tuple[int, ...]], object]
"""Makes a tensor of storage, offset, shape and strides, the last three in elements; checks the bounds."""


def known_name(text: str) -> Name:
    """The name `text`, "module attribute", if it is one of the few.

    Raises:
        RefusedError: it is not.
    """
    if text not in _KNOWN:
        raise RefusedError(f"it asks for {quoted(text.replace(' ', '.'))}")
    return Name(text)


def constructed(function: object, arguments: object, make_tensor: TensorMaker) -> object:
    """What torch would get from calling the named function.

    Raises:
        RefusedError: it is none of the four constructions above, or its arguments are of the wrong kind.
    """
    text = function.text if isinstance(function, Name) else None
    if isinstance(arguments, tuple):
        if text == _ORDERED_DICT and not arguments:
            return OrderedPairs()
        if text == _REBUILD_TENSOR:
            return _tensor(arguments, make_tensor)
        if text in _REBUILD_PARAMETER and arguments:
            return arguments[0]
    raise RefusedError(f"it calls {quoted(text or function)} with {quoted(arguments)}")


def storage(persistent_id: object) -> Storage:
    """The bytes that ("storage", type, key, location, number of elements) refers to.

    Raises:
        RefusedError: the reference has another form.
    """
    if isinstance(persistent_id, tuple) and len(persistent_id) == 5:
        tag, kind, key, _, n_elements = persistent_id
        dtype = _STORAGE_TYPES.get(kind.text) if isinstance(kind, Name) else None
        if tag == "storage" and dtype is not None and isinstance(key, str) and _is_count(n_elements):
            return Storage(dtype, key, n_elements)
    raise RefusedError(f"it refers to {quoted(persistent_id)} outside the pickle")


def _tensor(arguments: tuple[object, ...], make_tensor: TensorMaker) -> object:
    # Storage, offset, shape, strides, requires_grad, hooks; a seventh marks conjugate or negated tensors.
    if 6 <= len(arguments) <= 7 and not any(arguments[6:]):
        bytes_, offset, shape, strides = arguments[:4]
        if (
            isinstance(bytes_, Storage)
            and _is_count(offset)
            and _are_counts(shape)
            and _are_counts(strides)
            and len(shape) == len(strides)
        ):
            return make_tensor(bytes_, offset, shape, strides)
    raise RefusedError(f"it builds a tensor from {quoted(arguments)}")


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def _are_counts(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= _MOST_AXES and all(map(_is_count, value))
