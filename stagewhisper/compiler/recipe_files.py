"""Files that a recipe's parameters name: looked for beside the recipe, and told apart by what is in them.

cache_scales: scales.json ─► /home/me/recipes/scales.json ─► SHA-256 of its content, in the recipe's digest
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stagewhisper.bundle import file_digest
from stagewhisper.compiler.recipe_fields import Place
from stagewhisper.errors import OptionError

_NAMES = ("recordings", "cache_scales")
_ENDINGS = ("_file", "_files")


def names_files(parameter: str) -> bool:
    """Whether values of a parameter called so are files' names; other packages' passes follow the same rule."""
    return parameter in _NAMES or parameter.endswith(_ENDINGS)


def beside_recipe(parameter: str, value: Any, *, folder: Path, place: Place) -> Any:
    """The value, with its files' whole paths if it names some; `folder` is the recipe's.

    Raises:
        OptionError: there is no such file.
    """
    if not names_files(parameter):
        return value
    if isinstance(value, list | tuple):
        return [beside_recipe(parameter, each, folder=folder, place=place) for each in value]
    if not isinstance(value, str) or not value:
        return value
    path = (folder / value).absolute()
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise place.error(f"Cannot read {path}: {reason}. Names of files count from the recipe's folder.") from error
    return str(path)


def with_contents(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with digests of their files instead of names.

    Raises:
        OptionError: a file cannot be read any more.
    """
    return {name: _content(value) if names_files(name) else value for name, value in parameters.items()}


def _content(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_content(each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    try:
        return file_digest(Path(value))
    except (OSError, ValueError) as error:
        raise OptionError(f"Cannot read {value}, which the recipe names: {error}.") from error
