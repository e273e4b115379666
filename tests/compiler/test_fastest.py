"""The fastest recipe: measured once for a shape and a machine, kept, and measured again when anything differs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler import Recipe, fastest_measure, fastest_recipe, load_recipe, this_machine
from stagewhisper.compiler.fastest import DYNAMIC, FLOAT, QUESTIONS, Times, recipe_with
from stagewhisper.compiler.recipe_rules import check_recipe
from tests.checkpoints import random_dims, save_openai

SHIPPED = {question: answers[0] for question, answers in QUESTIONS.items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=80, n_audio_layer=2, n_text_layer=3)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("fastest") / "random.pt", dims))


@pytest.fixture(autouse=True)
def without_saturation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest_measure, "products_saturate", lambda: False)


class Stopwatch:
    """Times by what stands in a recipe, and the recipes that were measured."""

    def __init__(self, **faster: float) -> None:
        self.faster, self.measured = faster, 0
        self.checkpoints: list[Checkpoint] = []

    def __call__(self, checkpoint: Checkpoint, recipes: Sequence[Recipe]) -> list[Times]:
        self.measured += len(recipes)
        self.checkpoints.append(checkpoint)
        for recipe in recipes:
            check_recipe(recipe)
        return [self._times(recipe) for recipe in recipes]

    def _times(self, recipe: Recipe) -> Times:
        names = {graph: [step.name for step in recipe.steps_for(graph)] for graph in ("encoder", "decoder")}
        layers = [
            step
            for step in recipe.steps_for("decoder")
            if step.name == "quantize_dynamic" and step.parameters["only"] == ("*",)
        ]
        encoder = 10 * (1 if "quantize_attention" in names["encoder"] else self.faster.get("float_attention", 2))
        step = 3 * (self.faster.get("dynamic_layers", 2) if layers else 1)
        step *= 1 if "quantize_cross_kv" in names["decoder"] else self.faster.get("float_cross", 2)
        return {"encoder": encoder, "step": step, "step, 8 windows": 8 * step, "step, 5 beams": 5 * step}


def test_the_shipped_answers_make_the_shipped_recipe() -> None:
    shipped, made = load_recipe("int8"), recipe_with(SHIPPED)
    for graph in ("encoder", "decoder"):
        passes = [step.name for step in shipped.steps_for(graph)]
        # the vocabulary and the other products of the decoder are asked about one by one
        assert list(dict.fromkeys(step.name for step in made.steps_for(graph))) == passes


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_answer_makes_a_recipe_that_can_be_carried_out(question: str) -> None:
    digests = set()
    for answer in QUESTIONS[question]:
        for saturates in (False, True):
            recipe = recipe_with({**SHIPPED, question: answer}, saturates=saturates)
            check_recipe(recipe)
            digests.add((recipe.digest_without(), saturates))
    assert len(digests) == 2 * len(QUESTIONS[question])


def test_what_is_faster_is_taken_and_the_rest_stays(checkpoint: Checkpoint, tmp_path: Path) -> None:
    found = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=Stopwatch(dynamic_layers=0.5))
    assert found.answers == {**SHIPPED, "decoder products": DYNAMIC}
    assert "decoder products: dynamic int8 1.50 / 12.00 / 7.50 ms (not blocks of 8 bits 3.00 / 24.00" in "; ".join(
        found.lines()
    )
    assert found.recipe.description == "; ".join(found.lines())
    assert found.recipe.precision == "int8"


def test_what_is_hardly_faster_is_not_taken(checkpoint: Checkpoint, tmp_path: Path) -> None:
    watch = Stopwatch(dynamic_layers=0.99, float_cross=0.98, float_attention=0.9)
    found = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    assert found.answers == {**SHIPPED, "encoder attention": FLOAT}


def test_a_small_part_of_the_model_is_measured(checkpoint: Checkpoint, tmp_path: Path) -> None:
    watch = Stopwatch()
    fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    (small,) = watch.checkpoints
    assert small.dims == replace(checkpoint.dims, n_audio_layer=1, n_text_layer=2)
    assert watch.measured == 1 + sum(len(answers) - 1 for answers in QUESTIONS.values())


def test_it_is_measured_once(checkpoint: Checkpoint, tmp_path: Path) -> None:
    watch = Stopwatch(dynamic_layers=0.5)
    first = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    n_measured = watch.measured
    assert fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch) == first
    assert watch.measured == n_measured
    (note,) = (tmp_path / "choices").iterdir()
    document = json.loads(note.read_text())
    assert document["identity"]["shape"] == checkpoint.dims.to_dict()
    assert {"cpu", "instructions", "threads", "onnxruntime", "compiler"} <= set(document["identity"])


def test_another_shape_or_machine_is_measured_for_itself(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch()
    fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    n_measured = watch.measured
    other = replace(checkpoint, dims=replace(checkpoint.dims, n_text_layer=2))
    fastest_recipe(other, cache_dir=tmp_path, measure=watch)
    assert watch.measured == 2 * n_measured
    fastest_recipe(checkpoint, cache_dir=tmp_path, threads=1, measure=watch)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Another One\nflags\t\t: sse\n\nmodel name\t: not read\n")
    monkeypatch.setattr(this_machine, "_CPUINFO", cpuinfo)
    assert this_machine.kernel_identity(threads=None)["cpu"] == "Another One"
    fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    assert watch.measured >= 3 * n_measured


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"identity": {}, "answers": {}, "milliseconds": {}, "saturates": false}'],
    ids=["empty", "cut", "a list", "another's"],
)
def test_a_damaged_note_is_measured_again(checkpoint: Checkpoint, tmp_path: Path, damage: str) -> None:
    watch = Stopwatch()
    first = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch)
    (note,) = (tmp_path / "choices").iterdir()
    note.write_text(damage)
    n_measured = watch.measured
    assert fastest_recipe(checkpoint, cache_dir=tmp_path, measure=watch) == first
    assert watch.measured == 2 * n_measured
    assert json.loads(note.read_text())["answers"] == SHIPPED


def test_processors_that_saturate_get_weights_of_seven_bits(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest_measure, "products_saturate", lambda: True)
    found = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=Stopwatch())
    assert found.answers["encoder attention"] == FLOAT
    dynamic = [step for step in found.recipe.steps_for("encoder") if step.name == "quantize_dynamic"]
    assert [step.parameters for step in dynamic] == [{"reduce_range": True}]


def test_the_graphs_are_really_measured(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest_measure, "N_ROUNDS", 1)
    monkeypatch.setattr(fastest_measure, "UNSTEADY", 1e6)
    recipes = [recipe_with(SHIPPED), recipe_with({**SHIPPED, "vocabulary": DYNAMIC})]
    measured = fastest_measure.measured(checkpoint, recipes, folder=tmp_path, threads=1)
    assert len(measured) == 2
    for times in measured:
        assert list(times) == ["encoder", "step", "step, 8 windows", "step, 5 beams"]
        assert all(0 < milliseconds < 10_000 for milliseconds in times.values())


def test_on_a_busy_machine_the_shipped_answers_are_taken_and_nothing_is_kept(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = fastest_recipe(checkpoint, cache_dir=tmp_path, measure=lambda checkpoint, recipes: [])
    assert found.answers == SHIPPED
    assert "too busy" in caplog.text
    assert not (tmp_path / "choices").exists()


def test_disturbed_calls_are_noticed(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest_measure, "_in_turns", lambda callers: [[1.0, 2.0, 2.0] for _ in callers])
    assert fastest_measure.measured(checkpoint, [recipe_with(SHIPPED)], folder=tmp_path, threads=1) == []


def test_products_of_this_processor_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(fastest_measure, "_run", lambda model, inputs: np.full((4, 32), 64 * 255 * 127, np.float32))
    assert not fastest_measure.products_saturate()
    monkeypatch.setattr(fastest_measure, "_run", lambda model, inputs: np.full((4, 32), 32 * 32767, np.float32))
    assert fastest_measure.products_saturate()
    monkeypatch.undo()
    assert fastest_measure.products_saturate() in (True, False)  # the graph is one that ONNX Runtime takes
