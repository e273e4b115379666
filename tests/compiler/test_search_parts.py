"""The space, the goals and the clock of a search, each on its own."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler import load_recipe
from stagewhisper.compiler.compile import compiled
from stagewhisper.compiler.recipe_rules import check_recipe
from stagewhisper.compiler.recipe_search import Evaluator, Goal
from stagewhisper.compiler.search_goals import goals_of, metric_keys
from stagewhisper.compiler.search_latency import interleaved, latencies, peak_memory, step_positions, times_beside
from stagewhisper.compiler.search_space import Space, shown, with_indices
from stagewhisper.errors import CompilerError
from stagewhisper.hub.known import embedded_path
from tests.compiler.searched import recipe_of

SPACE = """
    precision: int8
    passes:
      - {pass: quantize_blockwise, graphs: decoder, parameters: {only: [vocabulary], bits: 8}}
      - {pass: quantize_blockwise, parameters: {bits: 4}}
      - quantize_dynamic
    evaluators: [{metric: bundle_mb, goal: best}]
    search:
      trials: 3
      space:
        quantize_dynamic.keep: [["*.mlp.*"], [], [vocabulary]]
        quantize_dynamic: [false, true]
        quantize_blockwise#2: [true, false]
        quantize_blockwise#2.bits: [8, 4]
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return Space(recipe_of(tmp_path, SPACE.replace("precision: int8", "precision: int4")))


def test_a_space_begins_with_the_recipe_as_it_is(space: Space) -> None:
    assert space.names == (
        "quantize_dynamic.keep",
        "quantize_dynamic",
        "quantize_blockwise#2",
        "quantize_blockwise#2.bits",
    )
    assert space.start == (1, 1, 0, 1)
    recipe = space.recipe_of(space.start)
    assert [step.step.name for step in recipe.steps] == ["quantize_blockwise", "quantize_blockwise", "quantize_dynamic"]
    assert recipe.steps[1].step.parameters == {"bits": 4}
    assert recipe.steps[2].step.parameters == {"keep": []}
    assert recipe.search is None


def test_a_point_has_the_precision_that_its_passes_make(space: Space) -> None:
    for point, precision in (((0, 1, 0, 1), "int4"), ((0, 1, 0, 0), "int8"), ((0, 0, 1, 1), "int8")):
        recipe = space.recipe_of(point)
        check_recipe(recipe)
        assert recipe.precision == precision


def test_choices_of_a_pass_that_does_not_run_make_no_difference(space: Space) -> None:
    digests = {space.recipe_of((keep, 0, 1, bits)).digest_without() for keep in range(3) for bits in range(2)}
    assert len(digests) == 1
    assert len({space.recipe_of(point).digest_without() for point in space.around(space.start, range(4))}) == 4 * 3


def test_a_point_is_known_again_by_its_values(space: Space) -> None:
    for point in space.around(space.start, range(4)):
        assert space.point_of(space.values_of(point)) == point
    assert space.point_of({**space.values_of(space.start), "quantize_dynamic": 1}) is None, "1 is not true"
    assert space.point_of({"quantize_dynamic": True}) is None


def test_passes_are_searched_in_their_own_order(space: Space) -> None:
    assert space.groups(pass_by_pass=True) == ((2, 3), (0, 1))
    assert space.groups(pass_by_pass=False) == ((0, 1, 2, 3),)
    assert space.n_points(pass_by_pass=True) == 1 + 3 + 5
    assert space.n_points(pass_by_pass=False) == 24
    assert with_indices((1, 1, 0, 1), (2, 3), (1, 0)) == (1, 1, 1, 0)


def test_values_are_shown_as_yaml_has_them() -> None:
    assert [shown(value) for value in (True, None, 4, "text", ["a", 1.5, False])] == [
        "true",
        "null",
        "4",
        "text",
        "[a, 1.5, false]",
    ]


EVALUATORS = (
    Evaluator("wer", Goal(at_most=0.2, than="exact"), ("clips",)),
    Evaluator("qoi", Goal(at_least=-5.0, than="exact"), ("clips",)),
    Evaluator("window_ms", Goal()),
    Evaluator("bundle_mb"),
)
EXACT = {"wer": 11.3, "qoi": 100.0, "window_ms": 40.0, "bundle_mb": 10.0}


def point(wer: float, qoi: float, window_ms: float) -> dict[str, float]:
    return {"wer": wer, "qoi": qoi, "window_ms": window_ms, "bundle_mb": 1.0}


def test_limits_are_counted_from_the_named_recipe() -> None:
    goals = goals_of(EVALUATORS, {"exact": EXACT})
    assert [axis.limit for axis in goals.axes] == [11.5, 95.0, None, None]
    assert goals.violations(point(11.6, 94.0, 1)) == pytest.approx([0.1, 1.0])
    assert goals.keeps(point(11.3 + 0.2, 95.0, 1)), "the limit itself is kept, whatever rounding says"
    assert not goals.keeps(point(11.51, 99.0, 1))
    assert goals.objectives(point(1, 2, 3)) == [3]


def test_the_best_point_keeps_to_the_limits_and_the_nearest_breaks_them_least() -> None:
    goals = goals_of(EVALUATORS, {"exact": EXACT})
    points = [point(11.6, 99, 10), point(11.4, 96, 30), point(11.5, 95, 20), point(20, 99, 5)]
    assert goals.best(points) == goals.nearest(points) == 2
    assert goals.best([points[0], points[3]]) is None
    assert goals.nearest([points[3], points[0]]) == 1
    assert goals.nearest([]) is None


def test_the_front_knows_that_more_qoi_is_better() -> None:
    goals = goals_of(EVALUATORS, {"exact": EXACT})
    points = [point(11, 90, 10), point(11, 95, 10), point(10, 80, 10), point(12, 95, 11), point(11, 95, 10)]
    assert goals.front(points) == [1, 2, 4], "equal points are both on it; 4 equals 1"


def test_the_same_metric_on_other_data_has_its_own_key() -> None:
    evaluators = (
        Evaluator("wer", None, ("a",)),
        Evaluator("wer", None, ("b",)),
        Evaluator("cer", None, ("b",)),
        Evaluator("wer", None, ("a",), 10),
        Evaluator("step_ms"),
        Evaluator("step_ms", Goal()),
    )
    assert metric_keys(evaluators) == ("wer", "wer#2", "cer#2", "wer#3", "step_ms", "step_ms")


def test_a_ratio_does_not_notice_that_the_machine_gets_slower() -> None:
    """Calls take 1 ms and 0.5 ms, and each call makes all later ones 2 % slower."""
    state = {"speed": 1.0}

    def call(seconds: float) -> float:
        state["speed"] *= 1.02
        return seconds * state["speed"]

    found = interleaved([lambda: call(0.001), lambda: call(0.0005)], n_rounds=9, n_calls=3)
    assert found["ratio"] == pytest.approx(0.5, rel=0.1)
    assert found["reference"] > 0.0015, "though times themselves have changed by more than half"


def test_long_calls_are_not_repeated_within_a_round() -> None:
    calls: list[str] = []

    def call(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    interleaved([lambda: call("a", 1.0), lambda: call("b", 2.0)], n_rounds=3)
    assert calls == ["a", "a", "b", "b", "a", "b", "b", "a", "a", "b"]


def test_a_window_is_encoder_prompt_and_a_hundred_steps() -> None:
    def times(**ratios: float) -> dict[str, dict[str, float]]:
        return {name.replace("_", " "): {"ratio": ratio, "reference": 9.0} for name, ratio in ratios.items()}

    baseline = {"encoder": 0.2, "prompt": 0.01, "step 14": 0.001, "step 94": 0.003}
    found = latencies(
        times(encoder=0.5, prompt=1.0, step_14=2.0, step_94=1.0),
        {name: {"reference": seconds} for name, seconds in baseline.items()},
    )
    assert found == pytest.approx({"encoder_ms": 100, "prompt_ms": 10, "step_ms": 2.5, "window_ms": 360})


def test_steps_are_measured_in_the_middle_of_each_fifth_of_a_window() -> None:
    assert step_positions(448) == (14, 34, 54, 74, 94)
    assert step_positions(40) == (14, 34)
    assert step_positions(8) == (7,)


@pytest.fixture(scope="module")
def bundles(cache_dir: Path) -> list[Bundle]:
    checkpoint = load_checkpoint(embedded_path())
    return [compiled(checkpoint, recipe=load_recipe(name), cache_dir=cache_dir) for name in ("exact", "int8")]


def test_bundles_are_timed_in_a_process_of_their_own(bundles: list[Bundle]) -> None:
    found = times_beside(*bundles, threads=1)
    assert list(found) == ["encoder", "prompt", *(f"step {place}" for place in (14, 34, 54, 74, 94))]
    for each in found.values():
        assert each["reference"] > 0
        assert each["elapsed"] > 0
        assert 0 < each["ratio"] < 100


def test_peak_memory_holds_at_least_the_weights_and_not_the_parents_memory(bundles: list[Bundle]) -> None:
    ballast = bytearray(400_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    found = peak_memory(bundles[0], threads=1)
    weights = sum((bundles[0].path / f"{graph}.weights").stat().st_size for graph in ("encoder", "decoder"))
    assert weights < found < 300_000_000 < len(ballast)


def test_a_bundle_that_cannot_be_run_fails_with_the_reason(bundles: list[Bundle], tmp_path: Path) -> None:
    shutil.copytree(bundles[0].path, tmp_path / "broken")
    (tmp_path / "broken" / "decoder.onnx").write_bytes(b"no graph")
    with pytest.raises(CompilerError, match=r"cannot be run: .*decoder.onnx has 8 bytes instead of"):
        times_beside(bundles[0], replace(bundles[0], path=tmp_path / "broken"), threads=1)
