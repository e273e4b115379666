"""Import a package that only evaluations need, or say how to get it."""

from importlib import import_module
from typing import Any

from stagewhisper.errors import StagewhisperError


def needed(module: str, *, install: str = ".[evaluation]") -> Any:
    """The module of that name; by default one of the extra `evaluation`, installed from the project's folder.

    Raises:
        StagewhisperError: it is not installed; the message names what to `install`.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise StagewhisperError(
            f"This needs the package {error.name!r}, which is not installed. Install it with: pip install '{install}'"
        ) from error
