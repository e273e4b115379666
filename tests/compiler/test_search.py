"""A search looks at every recipe once, goes on where it was stopped, and keeps what is best."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagewhisper.bundle import read_bundle
from stagewhisper.compiler.recipe import load_recipe
from stagewhisper.compiler.recipe_rules import check_recipe
from stagewhisper.compiler.search_document import recipe_yaml, search_document
from stagewhisper.compiler.search_study import Outcome, Study
from stagewhisper.errors import OptionError, StagewhisperError
from tests.compiler.searched import N_RECIPES, RECIPE, Laboratory, laboratory, recipe_of, refuse_four_bits, values_of

__all__ = ["laboratory"]


def test_every_recipe_is_compiled_and_measured_once_and_the_best_that_keeps_the_limit_is_found(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    found = laboratory.search(recipe_of(tmp_path))
    assert len(found.points) == len(set(laboratory.compiled)) == len(laboratory.compiled) == N_RECIPES
    assert len(laboratory.timed) == N_RECIPES + 1, "and the reference"
    assert found.best is not None
    # 4 bits break the limit of 10.5; of 8 bits, large blocks with dynamic products are fastest: 0.4 of the reference
    assert found.best.choices["quantize_blockwise.bits"] == 8
    assert found.best.choices["quantize_blockwise.block_size"] == 128
    assert found.best.metrics["wer"] == pytest.approx(10.45)
    assert found.bundle is not None
    assert read_bundle(tmp_path / "out" / "best").recipe_digest == found.best.recipe
    assert not (tmp_path / "out" / "points").exists()


def test_times_are_counted_from_the_references_first_whatever_the_machine_does_since(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    found = laboratory.search(recipe_of(tmp_path))
    (reference,) = found.references.values()
    assert reference.metrics["encoder_ms"] == pytest.approx(1100)
    for record in found.points:
        seconds, _ = values_of(laboratory.recipes[record.recipe])
        assert record.metrics["encoder_ms"] == pytest.approx(1100 * seconds)


def test_the_front_has_what_no_other_point_equals_or_betters(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.search(recipe_of(tmp_path))
    places = {(record.metrics["window_ms"], record.metrics["wer"]) for record in found.points}
    expected = {
        place
        for place in places
        if not any(other != place and other[0] <= place[0] and other[1] <= place[1] for other in places)
    }
    assert {(record.metrics["window_ms"], record.metrics["wer"]) for record in found.front} == expected
    assert 1 < len(found.front) < N_RECIPES


def test_no_more_points_than_trials_are_measured(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.search(recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 4")))
    assert len(found.points) == len(laboratory.compiled) == 4
    first = found.points[0]
    assert first.choices == {
        "quantize_blockwise": True,
        "quantize_blockwise.bits": 8,
        "quantize_blockwise.block_size": 32,
        "quantize_dynamic": True,
    }, "the recipe as it is written comes first"


def test_a_search_that_was_stopped_goes_on_and_measures_nothing_again(laboratory: Laboratory, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 7"))

    def stop(_: Any) -> None:
        if len(laboratory.compiled) == 4:
            raise KeyboardInterrupt

    laboratory.on_compile = stop
    with pytest.raises(KeyboardInterrupt):
        laboratory.search(recipe)
    footprint = tmp_path / "out" / "footprint.jsonl"
    before = [json.loads(line) for line in footprint.read_text().splitlines()]
    assert len(before) == 1 + 3, "the reference and three points"
    laboratory.on_compile = lambda _: None
    laboratory.compiled.clear()
    laboratory.timed.clear()
    found = laboratory.search(recipe)
    assert len(found.points) == 7
    assert len(laboratory.timed) == 4
    assert not {entry["recipe"] for entry in before} & set(laboratory.timed)
    laboratory.timed.clear()
    assert laboratory.search(recipe).best == found.best
    assert laboratory.timed == [], "all is done"


def test_the_best_bundle_is_compiled_again_where_it_is_gone(laboratory: Laboratory, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    best = laboratory.search(recipe).best
    assert best is not None
    (tmp_path / "out" / "best" / "decoder.weights").unlink()
    laboratory.compiled.clear()
    found = laboratory.search(recipe)
    assert laboratory.compiled == [best.recipe]
    assert found.bundle is not None
    assert found.bundle.recipe_digest == best.recipe


def test_a_point_that_fails_is_noted_with_the_reason_and_not_tried_again(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.on_compile = refuse_four_bits
    recipe = recipe_of(tmp_path)
    found = laboratory.search(recipe)
    failed = [record for record in found.points if not record.is_done]
    assert len(found.points) == N_RECIPES
    assert len(failed) == 4
    assert {record.reason for record in failed} == {
        "The pass quantize_blockwise broke the numbers: 0.9 instead of 0.75."
    }
    assert not {record.recipe for record in found.front} & {record.recipe for record in failed}
    assert len(laboratory.compiled) == N_RECIPES
    laboratory.search(recipe)
    assert len(laboratory.compiled) == N_RECIPES


def test_pass_by_pass_decides_about_one_pass_after_the_other(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.search(recipe_of(tmp_path, RECIPE.replace("joint", "pass-by-pass")))
    *of_first, last = found.points
    assert {record.choices["quantize_dynamic"] for record in of_first} == {True}
    assert len(of_first) == 5
    assert last.choices["quantize_dynamic"] is False
    assert found.best is not None
    assert found.best.metrics["wer"] == pytest.approx(10.45)
    assert {name: value for name, value in last.choices.items() if name != "quantize_dynamic"} == {
        name: value for name, value in found.best.choices.items() if name != "quantize_dynamic"
    }, "the second pass is looked at around the best of the first"


@pytest.mark.parametrize(
    "change",
    [{"threads": 1}, {"circumstances": {"data": "other recordings"}}, {"circumstances": {"machine": "another"}}],
)
def test_what_was_measured_otherwise_does_not_count(
    laboratory: Laboratory, tmp_path: Path, change: dict[str, Any]
) -> None:
    recipe = recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 2"))
    laboratory.search(recipe)
    laboratory.timed.clear()
    laboratory.search(recipe, **change)
    assert len(laboratory.timed) == 3
    laboratory.timed.clear()
    laboratory.search(recipe)
    assert laboratory.timed == [], "the first lines are still there"


def test_a_new_evaluator_has_points_measured_again(laboratory: Laboratory, tmp_path: Path) -> None:
    text = RECIPE.replace("trials: 40", "trials: 2").replace("- {metric: window_ms, goal: best}", "")
    laboratory.search(
        recipe_of(tmp_path, text.replace("    search:", "      - {metric: bundle_mb, goal: best}\n    search:"))
    )
    assert laboratory.timed == []
    laboratory.search(recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 2")))
    assert len(laboratory.timed) == 3


def test_where_no_point_keeps_to_the_limits_there_is_no_best(laboratory: Laboratory, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, RECIPE.replace("at_most: 0.5", "at_most: -1"))
    found = laboratory.search(recipe)
    assert found.best is None
    assert found.bundle is None
    assert found.front
    assert not (tmp_path / "out" / "best").exists()


def test_the_best_recipe_as_a_file_makes_the_same_bundle(laboratory: Laboratory, tmp_path: Path) -> None:
    found = laboratory.search(recipe_of(tmp_path))
    assert found.best is not None
    text = recipe_yaml(found.recipe_of(found.best), found.best.metrics, remark="Found.")
    (tmp_path / "best.yaml").write_text(text, encoding="utf-8")
    again = load_recipe(tmp_path / "best.yaml")
    check_recipe(again)
    assert again.digest_without() == found.best.recipe
    assert text.startswith("# Found.\n# Measured: bundle_mb ")


def test_the_document_tells_everything_and_is_plain(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.on_compile = refuse_four_bits
    recipe = recipe_of(tmp_path)
    found = laboratory.search(recipe, circumstances={"machine": {"cpu": "Z80"}})
    document = search_document(found, recipe, model="base")
    assert json.loads(json.dumps(document)) == document
    assert document["space"]["quantize_blockwise.bits"] == [4, 8]
    assert [axis["limit"] for axis in document["axes"]] == [10.5, None]
    assert sum(point["on_front"] for point in document["points"]) == len(found.front)
    (best,) = [point for point in document["points"] if point["recipe"] == document["best"]]
    assert best["keeps_limits"]
    assert {point["keeps_limits"] for point in document["points"] if point["state"] == "failed"} == {False}
    assert document["circumstances"]["machine"] == {"cpu": "Z80"}


def test_a_damaged_footprint_is_refused_by_its_line(laboratory: Laboratory, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, RECIPE.replace("trials: 40", "trials: 1"))
    laboratory.search(recipe)
    footprint = tmp_path / "out" / "footprint.jsonl"
    footprint.write_text(footprint.read_text() + '{"recipe": \n')
    with pytest.raises(StagewhisperError, match=r"footprint.jsonl, line 3 is no record .* Remove that line"):
        laboratory.search(recipe)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (RECIPE[RECIPE.index("    search:") :], "", "mine.yaml says nothing of a search. Add `search`"),
        ("than: exact", "than: gone", "No recipe named 'gone'"),
        ("than: exact", "than: gpu-fp16", "limits are counted from gpu-fp16, which is for target gpu"),
        ("[4, 8]", "[4, eight]", "bits of quantize_blockwise is 'eight'"),
        ("quantize_dynamic: [true, false]", "quantize_dynamic.bits: [4, 8]", "has no parameter 'bits'"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    laboratory: Laboratory, tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        laboratory.search(recipe_of(tmp_path, RECIPE.replace(old, new)))
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_way_to_get_it_is_told(
    laboratory: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StagewhisperError, match=r"'optuna', which is not installed.*pip install '\.\[search\]'"):
        laboratory.search(recipe_of(tmp_path))


def test_the_study_learns_where_the_best_points_are() -> None:
    """Of 200 points, those it asks for are better than chance would have it."""
    study = Study({"a": 10, "b": 20}, n_objectives=1, seed=1)
    told: dict[tuple[int, ...], float] = {}
    for _ in range(40):
        point = study.ask(told.__contains__)
        assert point is not None
        told[point] = abs(point[0] - 3) + abs(point[1] - 15)
        study.tell(point, Outcome([told[point]], []))
    values = list(told.values())
    assert len(told) == 40
    assert sum(values[20:]) < 0.7 * sum(values[:8]) / 8 * 20


def test_the_study_keeps_away_from_broken_limits() -> None:
    study = Study({"a": 12, "b": 12}, n_objectives=2, seed=2)
    known: dict[tuple[int, ...], bool] = {}
    for _ in range(40):
        point = study.ask(known.__contains__)
        assert point is not None
        known[point] = point[0] >= 6
        study.tell(point, Outcome([float(point[0]), float(point[1])], [6.0 - point[0]]))
    kept = list(known.values())
    assert sum(kept[20:]) > 13


def test_the_study_has_nothing_to_ask_when_all_is_known() -> None:
    study = Study({"a": 2}, n_objectives=1, seed=0)
    study.tell((0,), None)
    study.tell((1,), Outcome([1.0], []))
    assert study.ask(lambda _: True) is None
