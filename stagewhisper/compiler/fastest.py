"""The fastest 8-bit recipe for a model's shape on this machine: measured once, and kept in the cache.

    checkpoint ─► 1 encoder layer, 2 decoder layers ─► each question's answers, in turns ─► choices/….json ─► Recipe

Which form is the faster one differs by width, by how many sequences go side by side, by the processor and by ONNX
Runtime's version, so it is not written down but tried. Every answer is 8 bits or more exact: they differ in time.
One question is asked at a time; the other ones have the shipped recipe's answers, which stand first.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from stagewhisper.atomic import writing_atomically
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.pipeline import FP32
from stagewhisper.compiler.recipe import Recipe, RecipeStep
from stagewhisper.compiler.steps import PassStep
from stagewhisper.compiler.this_machine import kernel_identity

logger = logging.getLogger(__name__)

FORMAT = 1
CLEARLY = 0.97
"""Another answer than the shipped recipe's has to take less than this share of its time."""

DYNAMIC, BLOCKS, FLOAT, INT8, PLAIN = "dynamic int8", "blocks of 8 bits", "float32", "int8", "int8, then float32"
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "encoder attention": (INT8, FLOAT),
    "encoder products": (DYNAMIC, FLOAT),
    "decoder products": (BLOCKS, DYNAMIC),
    "vocabulary": (BLOCKS, DYNAMIC),
    "keys and values of the audio": (INT8, PLAIN, FLOAT),
}

Answers = Mapping[str, str]
Times = Mapping[str, float]
"""Milliseconds by kind of call: "encoder", "step", "step, 8 windows", "step, 5 beams"."""
Measure = Callable[[Checkpoint, Sequence[Recipe]], Sequence[Times]]
"""The times of some recipes' graphs, taken in turns; none at all where the machine is too busy to tell."""


@dataclass(frozen=True)
class Fastest:
    """What was found."""

    answers: Answers
    saturates: bool
    """Whether this processor adds 8-bit products in 16 bits: weights then get 7, and attention stays float32."""
    times: Mapping[str, Mapping[str, Times]]
    """By question and answer."""

    @property
    def recipe(self) -> Recipe:
        """The shipped recipe `int8` with these answers."""
        return recipe_with(self.answers, saturates=self.saturates, description="; ".join(self.lines()))

    def lines(self) -> list[str]:
        """For each question the answer and what it was compared with, in words."""
        found = []
        for question, answer in self.answers.items():
            times = self.times.get(question, {})
            others = ", ".join(f"{other} {_shown(times[other])}" for other in times if other != answer)
            beside = f" {_shown(times[answer])} (not {others})" if others else ""
            found.append(f"{question}: {answer}{beside}")
        return found


def fastest_recipe(
    checkpoint: Checkpoint, *, cache_dir: Path, threads: int | None = None, measure: Measure | None = None
) -> Fastest:
    """What is fastest for models of this shape here, from the cache or measured now.

    Raises:
        CompilerError: ONNX Runtime cannot run one of the forms.
    """
    note, identity = _note(checkpoint, cache_dir, threads)
    found = _read(note, identity)
    if found is None:
        logger.info("Measuring which forms of 8-bit arithmetic are fastest here (once; kept in %s)", note)
        found = _found(checkpoint, measure or _measure(threads))
        if found.times:
            _write(note, identity, found)
    return found


def measured_earlier(checkpoint: Checkpoint, *, cache_dir: Path, threads: int | None = None) -> Fastest | None:
    """What `fastest_recipe` has found for models of this shape here, and None if it never did; measures nothing."""
    return _read(*_note(checkpoint, cache_dir, threads))


def shipped_answers() -> Fastest:
    """What is taken where nothing was measured."""
    from stagewhisper.compiler.fastest_measure import products_saturate

    saturates = products_saturate()
    shipped = {question: known[0] for question, known in QUESTIONS.items()}
    if saturates:
        shipped["encoder attention"] = FLOAT
    return Fastest(shipped, saturates, {})


def _note(checkpoint: Checkpoint, cache_dir: Path, threads: int | None) -> tuple[Path, Mapping[str, Any]]:
    """Where the result is kept, and all that it depends on."""
    from stagewhisper.compiler.compile import compiler_version  # which imports this module's Recipe, too

    identity = {
        "format": FORMAT,
        **kernel_identity(threads=threads),
        "compiler": compiler_version(),
        "shape": checkpoint.dims.to_dict(),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    return cache_dir / "choices" / f"{key}.json", identity


def recipe_with(answers: Answers, *, saturates: bool = False, description: str = "") -> Recipe:
    """The recipe `auto` with these answers to `QUESTIONS`."""
    reduced: dict[str, Any] = {"reduce_range": True} if saturates else {}
    dynamic = PassStep("quantize_dynamic", reduced)
    steps = [RecipeStep(step, place="pipeline.py") for step in FP32]
    if answers["encoder products"] == DYNAMIC:
        steps.append(_for("encoder", PassStep("convolution_to_matmul")))
    if answers["encoder attention"] == INT8:
        steps.append(_for("encoder", PassStep("quantize_attention")))
    if answers["encoder products"] == DYNAMIC:
        steps.append(_for("encoder", dynamic))
    blocks = {"bits": 8, "block_size": 128}
    for question, only in (("vocabulary", ("vocabulary",)), ("decoder products", ("*",))):
        if answers[question] == BLOCKS:
            steps.append(_for("decoder", PassStep("quantize_blockwise", {**blocks, "only": only}, tolerance=0.25)))
        else:
            steps.append(_for("decoder", replace(dynamic, parameters={**reduced, "only": only})))
    if (cross := answers["keys and values of the audio"]) != FLOAT:
        steps.append(RecipeStep(PassStep("quantize_cross_kv", {} if cross == INT8 else {"kernel": False})))
    return Recipe("auto", "auto", "cpu", "int8", tuple(steps), description=description)


def _for(graph: str, step: PassStep) -> RecipeStep:
    return RecipeStep(step, graphs=(graph,), place="auto")


def _found(checkpoint: Checkpoint, measure: Measure) -> Fastest:
    usually = shipped_answers()
    shipped, saturates = usually.answers, usually.saturates
    asked = [
        (question, answer)
        for question, known in QUESTIONS.items()
        for answer in known
        if answer != shipped[question] and not (saturates and question == "encoder attention")
    ]
    recipes = [recipe_with(shipped, saturates=saturates)]
    recipes += [recipe_with({**shipped, question: answer}, saturates=saturates) for question, answer in asked]
    measured = measure(_in_small(checkpoint), recipes)
    if not measured:
        logger.warning("The machine is too busy to tell what is fastest: taking the recipe int8 as it is, for now.")
        return usually
    usual, *others = measured
    times: dict[str, dict[str, Times]] = {}
    for (question, answer), theirs in zip(asked, others, strict=True):
        graph = "encoder" if question.startswith("encoder") else "step"
        own = times.setdefault(question, {shipped[question]: _of(usual, graph)})
        own[answer] = _of(theirs, graph)
    return Fastest(
        {question: _best(times.get(question, {}), usual=shipped[question]) for question in QUESTIONS}, saturates, times
    )


def _of(times: Times, graph: str) -> Times:
    return {name: value for name, value in times.items() if name.startswith(graph)}


def _best(times: Mapping[str, Times], *, usual: str) -> str:
    """The answer of the least geometric mean, if it is clearly less than the usual one's."""
    if not times:
        return usual
    means = {answer: prod(each.values()) ** (1 / len(each)) for answer, each in times.items()}
    best = min(means, key=means.__getitem__)
    return best if means[best] < CLEARLY * means[usual] else usual


def _in_small(checkpoint: Checkpoint) -> Checkpoint:
    """The same widths in fewer layers; the others' weights are never read."""
    dims = checkpoint.dims
    small = replace(dims, n_audio_layer=min(1, dims.n_audio_layer), n_text_layer=min(2, dims.n_text_layer))
    return replace(checkpoint, dims=small)


def _measure(threads: int | None) -> Measure:
    def measure(checkpoint: Checkpoint, recipes: Sequence[Recipe]) -> Sequence[Times]:
        from stagewhisper.compiler.fastest_measure import measured

        with tempfile.TemporaryDirectory(prefix="stagewhisper-fastest-") as folder:
            return measured(checkpoint, recipes, folder=Path(folder), threads=threads)

    return measure


def _read(note: Path, identity: Mapping[str, Any]) -> Fastest | None:
    try:
        document = json.loads(note.read_text(encoding="utf-8"))
        answers = {str(question): str(answer) for question, answer in document["answers"].items()}
        times = {
            question: {answer: {name: float(ms) for name, ms in each.items()} for answer, each in own.items()}
            for question, own in document["milliseconds"].items()
        }
        is_ours = document["identity"] == json.loads(json.dumps(identity)) and list(answers) == list(QUESTIONS)
        if not is_ours or any(answer not in QUESTIONS[question] for question, answer in answers.items()):
            return None
        return Fastest(answers, bool(document["saturates"]), times)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("What was measured earlier cannot be read, and is measured again. %s: %s", note, error)
        return None


def _write(note: Path, identity: Mapping[str, Any], found: Fastest) -> None:
    document = {
        "identity": identity,
        "answers": found.answers,
        "saturates": found.saturates,
        "milliseconds": found.times,
    }
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with writing_atomically(note) as file:
            file.write(json.dumps(document, indent=1))
    except OSError as error:  # a cache that is read-only: measured again next time
        logger.info("What was measured cannot be kept in %s (%s).", note.parent, error)


def _shown(times: Times) -> str:
    return " / ".join(f"{value:.2f}" for value in times.values()) + " ms"
