"""What a recipe says of measuring its result, and of searching for a better one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stagewhisper.compiler.recipe_fields import Fields, Place

METRICS = {
    "wer": "word errors, per cent",
    "cer": "character errors, per cent",
    "qoi": "clips no worse than with the reference model, per cent",
    "encoder_ms": "one window through the encoder",
    "prompt_ms": "one prompt call",
    "step_ms": "one decoder step",
    "window_ms": "one window with 100 tokens",
    "bundle_mb": "size on disk",
    "memory_mb": "peak memory",
}
"""What can be measured of a bundle."""

LARGER_IS_BETTER = ("qoi",)
"""All others are better when they are smaller."""
NEED_DATA = ("wer", "cer", "qoi")
BEST = "best"
STRATEGIES = ("joint", "pass-by-pass")


@dataclass(frozen=True)
class Goal:
    """A limit, or the best that can be had."""

    at_most: float | None = None
    at_least: float | None = None
    than: str | None = None
    """The recipe whose own value the limit is counted from; None counts from 0."""

    @property
    def is_best(self) -> bool:
        """Whether this is no limit: of all that keep to the limits, the best is wanted."""
        return self.at_most is None and self.at_least is None


@dataclass(frozen=True)
class Evaluator:
    """One thing to be measured."""

    metric: str
    goal: Goal | None = None
    """None only measures."""
    data: tuple[str, ...] = ()
    """Data sets, for metrics of the text."""
    limit: int | None = None
    """Only so many clips of each."""


@dataclass(frozen=True)
class Choice:
    """One axis of the space that is searched."""

    step: int
    """The pass, as an index into the recipe's steps."""
    parameter: str | None
    """None: whether the pass runs at all; the values are True and False."""
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Search:
    """How a better recipe is looked for."""

    strategy: str
    """joint: all choices at once; pass-by-pass: those of one pass after those of the one before it."""
    trials: int
    seed: int
    space: tuple[Choice, ...]


def read_evaluators(data: Sequence[object], place: Place) -> tuple[Evaluator, ...]:
    """The recipe's evaluators.

    Raises:
        OptionError: one of them is wrong.
    """
    return tuple(_evaluator(entry, place.at(index)) for index, entry in enumerate(data))


def _evaluator(data: object, place: Place) -> Evaluator:
    fields = Fields(data, place, known=("metric", "data", "limit", "goal"))
    metric = fields.text("metric", choices=METRICS)
    if metric in NEED_DATA and not fields.items("data"):
        raise place.error(f"{metric} needs data sets. Name them: data: [folder-or-manifest].")
    for key in ("data", "limit"):
        if metric not in NEED_DATA and key in fields:
            raise place.at(key).error(f"{metric} is measured without data sets. Leave {key} out.")
    return Evaluator(
        metric=metric,
        goal=_goal(fields.required("goal"), place.at("goal"), metric) if "goal" in fields else None,
        data=tuple(_text(entry, place.at("data").at(index)) for index, entry in enumerate(fields.items("data"))),
        limit=fields.integer("limit", at_least=1) if "limit" in fields else None,
    )


def _goal(data: object, place: Place, metric: str) -> Goal:
    if data == BEST:
        return Goal()
    fields = Fields(data, place, known=("at_most", "at_least", "than"))
    given = [key for key in ("at_most", "at_least") if key in fields]
    if len(given) != 1:
        raise place.error(f"give at_most or at_least, or write {BEST}.")
    wanted, better = ("at_least", "larger") if metric in LARGER_IS_BETTER else ("at_most", "smaller")
    if given != [wanted]:
        raise place.at(given[0]).error(f"{metric} is better when it is {better}. Write {wanted}, or the goal {BEST}.")
    than = fields.text("than") if "than" in fields else None
    number = fields.number(given[0])
    return Goal(at_most=number, than=than) if given == ["at_most"] else Goal(at_least=number, than=than)


def read_search(data: object, place: Place, *, passes: Sequence[str], evaluators: Sequence[Evaluator]) -> Search:
    """The recipe's search; `passes` are the names of its steps.

    Raises:
        OptionError: it is wrong, or nothing is to be optimised.
    """
    fields = Fields(data, place, known=("strategy", "trials", "seed", "space"))
    space = fields.mapping("space")
    if not space:
        raise place.error("space is empty. Name parameters and their values: quantize_blockwise.bits: [4, 8].")
    if not any(evaluator.goal is not None and evaluator.goal.is_best for evaluator in evaluators):
        raise place.error(
            f"no evaluator has the goal {BEST}, so there is nothing to search for. Give one of them that."
        )
    choices = tuple(_choice(name, values, place.at("space").at(name), passes) for name, values in space.items())
    _refuse_doubles(choices, list(space), place.at("space"))
    return Search(
        strategy=fields.text("strategy", choices=STRATEGIES, default="joint"),
        trials=fields.integer("trials", at_least=1),
        seed=fields.integer("seed", at_least=0, default=0),
        space=choices,
    )


def _refuse_doubles(choices: Sequence[Choice], names: Sequence[str], place: Place) -> None:
    """`pack_qkv` and `pack_qkv#1` may be the same."""
    seen: dict[tuple[int, str | None], str] = {}
    for name, choice in zip(names, choices, strict=True):
        first = seen.setdefault((choice.step, choice.parameter), name)
        if first != name:
            raise place.at(name).error(f"this is {first}, which stands there too. Leave one of them out.")


def _choice(name: str, values: object, place: Place, passes: Sequence[str]) -> Choice:
    called, _, parameter = name.partition(".")
    pass_name, _, number = called.partition("#")
    found = [index for index, each in enumerate(passes) if each == pass_name]
    if not found:
        raise place.error(f"the recipe has no pass {pass_name!r}. It has: {', '.join(dict.fromkeys(passes))}.")
    if len(found) > 1 and not number:
        raise place.error(f"{pass_name!r} stands {len(found)} times in the recipe. Write {pass_name}#1 for the first.")
    if number and not (number.isdecimal() and 1 <= int(number) <= len(found)):
        raise place.error(f"there is no {called!r}: {pass_name!r} stands {len(found)} times in the recipe.")
    if not isinstance(values, list) or len(values) < 2:
        raise place.error("expected a list of two values or more.")
    if not parameter and sorted(map(repr, values)) != ["False", "True"]:
        raise place.error("a pass runs or not: expected [true, false].")
    for index, value in enumerate(values):
        if any(_is_same(value, other) for other in values[:index]):
            raise place.error(f"{value!r} stands there twice. Name each value once.")
    return Choice(found[int(number or 1) - 1], parameter or None, tuple(values))


def _is_same(value: object, other: object) -> bool:
    """Whether a pass would be given the same: Python takes True for 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _text(value: object, place: Place) -> str:
    if not isinstance(value, str) or not value:
        raise place.error(f"{value!r} stands here; expected text.")
    return value
