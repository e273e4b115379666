"""What an option's text means; a text that means nothing is answered with what would."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def boolean(text: str) -> bool:
    """True or False, as openai/whisper spells them, in upper or lower case."""
    if text.lower() not in ("true", "false"):
        raise ArgumentTypeError(f"expected True or False, got {text!r}")
    return text.lower() == "true"


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def integer(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def optional_number(text: str) -> float | None:
    """A finite number, or None where the text is `None`."""
    return _optional(text, number)


def optional_integer(text: str) -> int | None:
    """A whole number, or None where the text is `None`."""
    return _optional(text, integer)


def precision(text: str) -> str:
    """The short name of a precision that may be given by its type's name."""
    return {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(text, text)


def formats(text: str) -> tuple[str, ...]:
    """Names of writers, each once, from a comma-separated list in which `all` stands for the built-in ones."""
    from stagewhisper.writers import BUILT_IN_FORMATS, WRITERS

    names = [name.strip() for name in text.split(",")]
    known = WRITERS.names()
    for name in names:
        if name not in (*known, "all"):
            raise ArgumentTypeError(f"no format is called {name!r}; known: {', '.join(known)}, all")
    expanded = [each for name in names for each in (BUILT_IN_FORMATS if name == "all" else (name,))]
    return tuple(dict.fromkeys(expanded))


def _optional(text: str, convert: Callable[[str], T]) -> T | None:
    if text == "None":
        return None
    try:
        return convert(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(str(error).replace(", got", " or None, got")) from None
