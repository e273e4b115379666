"""The text of a recipe as plain data: mappings, lists, text, numbers, True, False and None.

YAML is read by PyYAML's safe loader, which builds nothing else. Two things that YAML lets pass are refused: a key that
stands twice in one mapping, and references (`*name`), with which a short text can stand for a huge one.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from stagewhisper.errors import OptionError

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST_BYTES = 1 << 20
"""A recipe is a few hundred lines at most; what is larger was named by mistake."""


def read_recipe_text(path: Path) -> Any:
    """What the YAML or JSON file `path` holds.

    Raises:
        OptionError: it cannot be read, or is neither.
    """
    if path.suffix not in SUFFIXES:
        raise OptionError(
            f"The recipe {path} ends in neither {', '.join(SUFFIXES[:-1])} nor {SUFFIXES[-1]}. Rename it."
        )
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise OptionError(f"{path} has {size} bytes; a recipe has {LARGEST_BYTES} at most. Is it another file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"Cannot read the recipe {path}: {error.strerror or error}. Check its name.") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"The recipe {path} is not text in UTF-8 ({error.reason}). Save it as such.") from error
    except ValueError as error:  # a name that no file can have
        raise OptionError(f"Cannot read the recipe {str(path)!r}: {error}. Check its name.") from error
    return _json(text, path) if path.suffix == ".json" else _yaml(text, path)


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_mapping, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"The recipe {path} is no JSON: {error}. Correct it there.") from error


def _mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice(key for key, _ in pairs)
    return dict(pairs)


def _refuse_twice(keys: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice in one mapping")
        seen.add(key)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number that a recipe can use")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise OptionError(f"The recipe {path}{line} is no YAML: {error.problem}. Correct it there.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionError(f"The recipe {path} is no YAML: {error}. Correct it there.") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML tells no types
    """PyYAML's safe loader, which also refuses keys that stand twice, and references."""

    def compose_node(self, parent: object, index: object) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="references (*) are not for recipes: write it out", problem_mark=mark)
        composed: yaml.Node = super().compose_node(parent, index)
        return composed

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        try:
            _refuse_twice(self.construct_object(key, deep=True) for key, _ in node.value)
        except (ValueError, TypeError) as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_Loader.add_implicit_resolver(  # PyYAML follows YAML 1.1, to which 1e-3 is text
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)
