"""The recipes that a search may look at: the recipe with one value for each of its choices.

    space   quantize_blockwise: [true, false]           a point   (0, 1)   the index of a value for each choice
            quantize_blockwise.bits: [4, 8]             its recipe         the pass runs, with bits: 8

Choices of a pass that does not run say nothing, so several points can have one recipe. Recipes are told apart by their
digests, and one is measured once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any, TypeAlias

from stagewhisper.compiler.parameter_types import default_of
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.recipe import Recipe, RecipeStep
from stagewhisper.compiler.recipe_rules import precision_of
from stagewhisper.compiler.recipe_search import Choice

Point: TypeAlias = tuple[int, ...]
"""For each choice of the space, in its order, the index of one of its values."""


class Space:
    """The points of a recipe's search, and their recipes."""

    def __init__(self, recipe: Recipe) -> None:
        """The recipe says what is searched."""
        assert recipe.search is not None, "check_search has looked"  # noqa: S101
        self.choices = recipe.search.space
        self.names = tuple(_name(choice, recipe.steps) for choice in self.choices)
        self._recipe = recipe

    @property
    def start(self) -> Point:
        """The recipe as it is written; the first value of a choice where its own is not among them."""
        return tuple(_own_index(choice, self._recipe.steps[choice.step]) for choice in self.choices)

    def recipe_of(self, point: Point) -> Recipe:
        """The recipe with the values of `point`; nothing is checked."""
        off, parameters = set(), {step: dict(self._recipe.steps[step].step.parameters) for step in self._steps()}
        for choice, index in zip(self.choices, point, strict=True):
            if choice.parameter is not None:
                parameters[choice.step][choice.parameter] = choice.values[index]
            elif not choice.values[index]:
                off.add(choice.step)
        steps = tuple(
            replace(step, step=replace(step.step, parameters=parameters[index])) if index in parameters else step
            for index, step in enumerate(self._recipe.steps)
            if index not in off
        )
        made = replace(
            self._recipe,
            steps=steps,
            precision=precision_of(steps) or self._recipe.precision,
            description=", ".join(f"{name} {shown(value)}" for name, value in self.values_of(point).items()),
            evaluators=(),
            search=None,
        )
        return replace(made, name=f"{self._recipe.name}-{made.digest_without()[:8]}")

    def values_of(self, point: Point) -> dict[str, Any]:
        """The chosen values by the names that the recipe gives the choices."""
        return {name: choice.values[index] for name, choice, index in zip(self.names, self.choices, point, strict=True)}

    def point_of(self, values: Mapping[str, Any]) -> Point | None:
        """The point with these values; None if the space has none."""
        if set(values) != set(self.names):
            return None
        found = [
            next((index for index, value in enumerate(choice.values) if _is_same(value, values[name])), None)
            for name, choice in zip(self.names, self.choices, strict=True)
        ]
        return None if None in found else tuple(index for index in found if index is not None)

    def groups(self, *, pass_by_pass: bool) -> tuple[tuple[int, ...], ...]:
        """Choices that are made together, by their places: all, or those of each pass in the passes' order."""
        if not pass_by_pass:
            return (tuple(range(len(self.choices))),)
        return tuple(
            tuple(place for place, choice in enumerate(self.choices) if choice.step == step) for step in self._steps()
        )

    def n_points(self, *, pass_by_pass: bool) -> int:
        """How many points a search can come to at most."""
        groups = self.groups(pass_by_pass=pass_by_pass)
        return 1 + sum(prod(len(self.choices[place].values) for place in group) - 1 for group in groups)

    def around(self, point: Point, group: Sequence[int]) -> Iterator[Point]:
        """Every point that differs from `point` in the choices of the group at most."""
        for indices in product(*(range(len(self.choices[place].values)) for place in group)):
            yield with_indices(point, group, indices)

    def _steps(self) -> list[int]:
        return sorted({choice.step for choice in self.choices})


def with_indices(point: Point, group: Sequence[int], indices: Sequence[int]) -> Point:
    """`point` with other indices in the places of the group."""
    changed = list(point)
    for place, index in zip(group, indices, strict=True):
        changed[place] = index
    return tuple(changed)


def shown(value: object) -> str:
    """A value of a choice as YAML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _name(choice: Choice, steps: Sequence[RecipeStep]) -> str:
    """As it stands in the recipe: pass.parameter, or pass#2.parameter for the second of that name."""
    name = steps[choice.step].step.name
    of_that_name = [index for index, step in enumerate(steps) if step.step.name == name]
    number = f"#{of_that_name.index(choice.step) + 1}" if len(of_that_name) > 1 else ""
    return f"{name}{number}" + (f".{choice.parameter}" if choice.parameter else "")


def _own_index(choice: Choice, step: RecipeStep) -> int:
    if choice.parameter is None:
        own: object = True
    elif choice.parameter in step.step.parameters:
        own = step.step.parameters[choice.parameter]
    else:
        own = default_of(PASSES.get(step.step.name), choice.parameter)
    return next((index for index, value in enumerate(choice.values) if _is_same(value, own)), 0)


def _is_same(value: object, other: object) -> bool:
    """Equal, but true is not 1, and a list equals a tuple."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return list(value) == list(other)
    return value == other and isinstance(value, bool) == isinstance(other, bool)
