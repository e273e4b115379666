"""Whether a value from a recipe is what a pass's parameter is annotated with."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}


def parameters_of(function: Callable[..., int]) -> Mapping[str, Any]:
    """The type of every parameter that a recipe may set, by name: those that can only be given by keyword."""
    return {
        name: Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def default_of(function: Callable[..., int], name: str) -> Any:
    """What the parameter is where a recipe does not say; None where it has to."""
    default = inspect.signature(function).parameters[name].default
    return None if default is inspect.Parameter.empty else default


def fits(value: object, expected: Any) -> bool:
    """Whether the value may be given where `expected` is the annotation; what is not understood lets all pass."""
    if expected in (bool, str, types.NoneType):
        return type(value) is expected
    if expected in (int, float):
        return isinstance(value, (int, expected)) and not isinstance(value, bool)
    origin, parts = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)  # true is not 1
    if origin in (Sequence, list, tuple) and parts:
        return isinstance(value, list | tuple) and all(fits(item, parts[0]) for item in value)
    if origin in (Mapping, dict) and len(parts) == 2:
        return isinstance(value, dict) and all(fits(key, parts[0]) and fits(it, parts[1]) for key, it in value.items())
    return True


def described(expected: Any) -> str:
    """The type in words, for a message."""
    if expected in _PLAIN:
        return _PLAIN[expected]
    origin, parts = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return " or ".join(described(part) for part in parts)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin in (Sequence, list, tuple) and parts:
        return f"a list of which each is {described(parts[0])}"
    if origin in (Mapping, dict) and len(parts) == 2:
        return f"a mapping of which each value is {described(parts[1])}"
    return str(expected)
