"""The page of the passes is what they say of themselves, and the registry knows each of them."""

import runpy
from pathlib import Path

import pytest

from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.pipeline import FP32

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file.stem for file in (ROOT / "stagewhisper" / "compiler" / "passes").glob("*.py") if file.stem != "__init__"
)


def test_the_page_of_the_passes_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_pass_docs.py"))
    written = script["PAGE"].read_text(encoding="utf-8")
    assert written == script["pass_page"](), "run: python scripts/make_pass_docs.py"


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_folder_is_a_pass_of_that_name(name: str) -> None:
    assert PASSES.get(name).__name__ == name
    assert "before " in (ROOT / "docs" / "passes.md").read_text(encoding="utf-8").split(f"\n## {name}\n")[1]


def test_the_registry_and_the_pipeline_know_the_same_names() -> None:
    assert set(FILES) <= set(PASSES.names())
    assert {step.name for step in FP32} <= set(FILES)
