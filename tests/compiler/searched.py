"""A search whose bundles are empty files and whose values are made up, so that what is chosen can be looked at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stagewhisper.bundle import FILES, Bundle, read_bundle, writing_bundle
from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler import search as search_module
from stagewhisper.compiler import search_measure
from stagewhisper.compiler.compile import compiler_version
from stagewhisper.compiler.recipe import Recipe, load_recipe
from stagewhisper.compiler.search import Found, SearchOptions, search
from stagewhisper.errors import CompilerError
from stagewhisper.hub.known import embedded_path

RECIPE = """
    precision: int8
    passes:
      - make_kv_cache_static
      - broadcast_tile
      - {pass: quantize_blockwise, parameters: {bits: 8, block_size: 32}}
      - quantize_dynamic
    evaluators:
      - {metric: wer, data: [clips], goal: {at_most: 0.5, than: exact}}
      - {metric: window_ms, goal: best}
    search:
      strategy: joint
      trials: 40
      space:
        quantize_blockwise: [true, false]
        quantize_blockwise.bits: [4, 8]
        quantize_blockwise.block_size: [32, 128]
        quantize_dynamic: [true, false]
"""
"""16 points; without blockwise products 8 of them come to 2 recipes, so there are 10."""

N_RECIPES = 10


def recipe_of(folder: Path, text: str = RECIPE) -> Recipe:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def values_of(recipe: Recipe) -> tuple[float, float]:
    """Made-up seconds of the encoder and word error rate: 4 bits are fastest and worst, small blocks better."""
    steps = {step.step.name: step.step.parameters for step in recipe.steps}
    seconds, wer = 1.0, 10.0
    if "quantize_blockwise" in steps:
        parameters = steps["quantize_blockwise"]
        is_small = parameters["block_size"] == 32
        seconds, wer = (0.3, 12.0) if parameters["bits"] == 4 else (0.5, 10.2)
        seconds, wer = (seconds + 0.05, wer - 0.1) if is_small else (seconds, wer)
    if "quantize_dynamic" in steps:
        seconds, wer = seconds - 0.1, wer + 0.25
    return seconds, wer


@dataclass
class Laboratory:
    """What was compiled and measured, and what is to go wrong."""

    checkpoint: Checkpoint
    folder: Path
    compiled: list[str] = field(default_factory=list)
    """Digests, one for each time."""
    timed: list[str] = field(default_factory=list)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    on_compile: Callable[[Recipe], None] = lambda recipe: None

    def search(self, recipe: Recipe, **options: Any) -> Found:
        return search(
            self.checkpoint,
            recipe,
            self.folder / "out",
            measure_text=self.measure_text,
            options=SearchOptions(cache_dir=self.folder / "cache", **options),
        )

    def measure_text(
        self, bundle: Bundle, reference: Bundle, data: tuple[str, ...], limit: int | None
    ) -> Mapping[str, float]:
        assert (data, limit) == (("clips",), None)
        return {"wer": values_of(self.recipes[bundle.recipe_digest])[1], "cer": 1.0, "qoi": 99.0}

    def compile(self, checkpoint: Checkpoint, path: Path, *, source: str, recipe: Recipe, check: str = "end") -> Any:
        self.compiled.append(recipe.digest_without())
        self.on_compile(recipe)
        return SimpleNamespace(bundle=self._written(path, source, recipe))

    def compiled_in_cache(self, checkpoint: Checkpoint, *, recipe: Recipe, cache_dir: Path) -> Bundle:
        return self._written(cache_dir / recipe.name, "source", recipe)

    def times(self, reference: Bundle, bundle: Bundle, *, threads: int | None) -> dict[str, dict[str, float]]:
        self.timed.append(bundle.recipe_digest)
        seconds, _ = values_of(self.recipes[bundle.recipe_digest])
        drift = 1 + 0.1 * len(self.timed)  # the machine gets slower all the time
        encoder = {"reference": drift, "elapsed": drift * seconds, "ratio": seconds}
        nothing = {"reference": 0.0, "elapsed": 0.0, "ratio": 1.0}
        return {"encoder": encoder, "prompt": nothing, "step 14": nothing}

    def _written(self, path: Path, source: str, recipe: Recipe) -> Bundle:
        digest = recipe.digest_without()
        self.recipes[digest] = recipe
        bundle = Bundle(
            path,
            self.checkpoint.dims,
            recipe.precision,
            source,
            recipe=recipe.name,
            recipe_digest=digest,
            compiler=compiler_version(),
        )
        with writing_bundle(bundle) as folder:
            for name in FILES:
                (folder / name).write_text(digest)
        return read_bundle(path)


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """In place of the compiler and the clock."""
    made = Laboratory(load_checkpoint(embedded_path()), tmp_path)
    monkeypatch.setattr(search_module, "compile_checkpoint", made.compile)
    monkeypatch.setattr(search_module, "compiled", made.compiled_in_cache)
    monkeypatch.setattr(search_measure, "times_beside", made.times)
    return made


def refuse_four_bits(recipe: Recipe) -> None:
    """What a compiler would do whose 4-bit products are broken."""
    if recipe.precision == "int4":
        raise CompilerError("The pass quantize_blockwise broke the numbers: 0.9 instead of 0.75.")
