"""Hold options to their annotations: a wrong type must not come to light an hour into a recording."""

import numbers
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from stagewhisper.errors import OptionError

_KINDS: dict[Any, tuple[type, str, str]] = {
    bool: (bool, "True or False", "truth values"),
    int: (numbers.Integral, "a whole number", "whole numbers"),
    float: (numbers.Real, "a number", "numbers"),
    str: (str, "text", "texts"),
    NoneType: (NoneType, "None", "None"),
}
"""What passes for an annotated type, and its name, alone and in a sequence."""


def with_checked_types(options: Mapping[str, Any], annotated: type) -> dict[str, Any]:
    """`options`, their sequences as tuples, and all numbers as Python's own.

    Raises:
        OptionError: a value is not of the type that `annotated` gives its name.
    """
    hints = get_type_hints(annotated)
    return {name: _checked(name, value, hints[name]) for name, value in options.items()}


def _checked(name: str, value: Any, hint: Any) -> Any:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for kind in kinds:
        if _fits(value, kind):
            return _plain(value, kind)
    raise OptionError(f"{name} is {value!r}; expected {' or '.join(_described(kind) for kind in kinds)}.")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Sequence:
        return _is_sequence(value) and all(_fits(item, get_args(kind)[0]) for item in value)
    if isinstance(value, bool):
        return kind is bool  # although Python counts it among the whole numbers
    return isinstance(value, _KINDS[kind][0])


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _plain(value: Any, kind: Any) -> Any:
    if get_origin(kind) is Sequence:
        return tuple(_plain(item, get_args(kind)[0]) for item in value)
    return None if value is None else kind(value)


def _described(kind: Any) -> str:
    if get_origin(kind) is Sequence:
        return f"a sequence of {_KINDS[get_args(kind)[0]][2]}"
    return _KINDS[kind][1]
