"""Passes of other packages: found, run, and noticed when they change."""

import re
from pathlib import Path

import pytest

from stagewhisper.checkpoint import Checkpoint, ModelDims, load_checkpoint
from stagewhisper.compiler import compile_checkpoint, load_recipe
from stagewhisper.compiler.passes import PASSES
from tests.checkpoints import random_dims, save_openai
from tests.compiler.third_party import Package

DOCUMENT = Path(__file__).parents[2] / "docs" / "recipes.md"


def tiniest_dims() -> ModelDims:
    return random_dims(n_audio_state=8, n_text_state=8, n_audio_layer=1, n_text_layer=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("third") / "random.pt", tiniest_dims(), seed=7))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return Package(tmp_path / "site", monkeypatch, name="rounding")


def documented(kind: str) -> str:
    """The code of this kind in the document's section about passes of one's own."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition("## A pass of one's own")
    (first, *_) = re.findall(rf"```{kind}\n(.*?)```", section, flags=re.DOTALL)
    return str(first)


def test_the_documents_pass_does_what_it_says(checkpoint: Checkpoint, package: Package, tmp_path: Path) -> None:
    package.write(documented("python"), passes="round_weights")
    assert 'round_weights = "rounding:round_weights"' in documented("toml")
    (tmp_path / "mine.yaml").write_text(documented("yaml"))
    recipe = load_recipe(tmp_path / "mine.yaml")
    made = compile_checkpoint(checkpoint, tmp_path / "bundle", source="5", recipe=recipe, check="each")
    record = made.graphs["decoder"].passes[-1]
    assert (record.name, record.parameters, record.tolerance) == ("round_weights", {"steps": 8192}, 0.02)
    assert record.rewrites > 0
    assert record.difference is not None
    assert 0 < record.difference < 0.02
    assert "round_weights" in PASSES.names()
