"""The bundle of the best point so far, in the search's folder under one name."""

import shutil
from collections.abc import Callable
from pathlib import Path

from stagewhisper.bundle import Bundle, read_bundle
from stagewhisper.compiler.compile import compiler_version
from stagewhisper.compiler.recipe import Recipe
from stagewhisper.errors import BundleError

NAME = "best"


class BestBundle:
    """Keeps one bundle; the one before it goes."""

    def __init__(self, folder: Path, source: str, *, compile_into: Callable[[Recipe, Path], Bundle]) -> None:
        """`source` is the checkpoint's digest, and `compile_into` makes a recipe's bundle in a place."""
        self._path = folder / NAME
        self._source = source
        self._compile_into = compile_into

    def keep(self, path: Path, digest: str) -> None:
        """Moves the bundle at `path` here; nothing if it was not compiled in this run, or is here already."""
        if path.exists() and not self._stands(digest):
            self.remove()
            path.rename(self._path)

    def bundle(self, recipe: Recipe) -> Bundle:
        """The recipe's bundle here; compiled if it is another one's or damaged, as after a search that was stopped."""
        if not self._stands(recipe.digest_without()):
            self.remove()
            self._compile_into(recipe, self._path)
        return read_bundle(self._path)

    def remove(self) -> None:
        """Leaves no bundle."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _stands(self, digest: str) -> bool:
        try:
            found = read_bundle(self._path)
        except BundleError:
            return False
        wanted = (self._source, digest, compiler_version())
        return (found.source_digest, found.recipe_digest, found.compiler) == wanted
