"""Passes of other packages: found, run, and noticed when they change."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import Checkpoint, ModelDims, load_checkpoint
from stagewhisper.compiler import compile_checkpoint, compiled, load_recipe
from stagewhisper.compiler.foreign_passes import identity_of, text_digest
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


PASS = """
def mine(graph, *, scales_file: str = "", note: str = ""):
    with open({log!r}, "a") as log:
        log.write("run ")
    return 0
"""


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "scales.json").write_text("{}")
    (folder / "mine.yaml").write_text(
        "precision: fp32\npasses:\n"
        "- {pass: mine, graphs: decoder, optional: true, parameters: {scales_file: scales.json, note: a.txt}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return Path("recipes", "mine.yaml")


def test_a_bundle_is_compiled_anew_in_its_place_when_a_pass_of_others_or_a_file_has_changed(
    checkpoint: Checkpoint, package: Package, recipe_file: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    text = PASS.format(log=str(log))

    def bundles() -> list[Bundle]:
        """Asked for twice: the second time nothing is to be done."""
        return [compiled(checkpoint, recipe=load_recipe(recipe_file), cache_dir=tmp_path / "cache") for _ in range(2)]

    changes: dict[str, Callable[[], object]] = {
        "first": lambda: package.write(text, passes="mine"),
        "text": lambda: package.write(text + "# changed", passes="mine"),
        "version": lambda: package.write(text + "# changed", passes="mine", version="2.0"),
        "file": lambda: (tmp_path / "recipes" / "scales.json").write_text("{ }"),
    }
    seen = []
    for number, (what, change) in enumerate(changes.items(), start=1):
        change()
        first, again = bundles()
        assert first == again
        assert log.read_text().split() == ["run"] * number, what
        seen.append(first)
    assert len({bundle.path for bundle in seen}) == 1
    assert len({bundle.recipe_digest for bundle in seen}) == len(changes)


def test_a_package_is_told_apart_by_all_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "many_files" / "deep"
    folder.mkdir(parents=True)
    (tmp_path / "many_files" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "helper.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    digest = text_digest.__wrapped__  # without its cache
    before = digest("many_files")
    assert digest("many_files") == before
    (folder / "helper.py").write_text("x = 2")
    assert digest("many_files") != before
    (folder / "helper.py").rename(folder / "other.py")
    (tmp_path / "many_files" / "data.txt").write_text("no text of a program")
    assert len({before, digest("many_files"), digest("no_such_package"), digest("sys")}) == 3
    assert identity_of("pack_qkv") is None
    assert identity_of("no_such_pass") is None
