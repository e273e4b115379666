"""Checkpoints in, bundles out: graphs that ONNX Runtime runs, written straight from the weights."""

from stagewhisper.compiler.compile import compile_checkpoint, compiled, default_cache_dir, source_digest
from stagewhisper.compiler.compiled_report import CompiledReport, read_report
from stagewhisper.compiler.fastest import Fastest, fastest_recipe
from stagewhisper.compiler.recipe import RECIPE_OF_PRECISION, Recipe, load_recipe, recipe_names

__all__ = [
    "RECIPE_OF_PRECISION",
    "CompiledReport",
    "Fastest",
    "Recipe",
    "compile_checkpoint",
    "compiled",
    "default_cache_dir",
    "fastest_recipe",
    "load_recipe",
    "read_report",
    "recipe_names",
    "source_digest",
]
