"""What the goals of a recipe make of measured values: limits, objectives, the best point, and the Pareto front.

evaluators        wer at most +0.2 than exact, window_ms best
of the reference  wer 11.3, window_ms 42.0
a point           wer 11.4, window_ms 21.5   ─►  violation −0.1 (it keeps to the limit), objective 21.5
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagewhisper.compiler.recipe_search import LARGER_IS_BETTER, NEED_DATA, Evaluator

LATENCIES = ("encoder_ms", "prompt_ms", "step_ms", "window_ms")
_ROUNDING = 1e-9

Metrics = Mapping[str, float]
"""Measured values by key."""


@dataclass(frozen=True)
class Axis:
    """One evaluator with the key of its values, and its limit as a plain number."""

    key: str
    evaluator: Evaluator
    limit: float | None
    """None where the goal is the best value, or there is no goal."""

    @property
    def sign(self) -> int:
        """What a value is multiplied by so that less is better."""
        return -1 if self.evaluator.metric in LARGER_IS_BETTER else 1

    @property
    def has_goal(self) -> bool:
        """Whether anything is wanted of it."""
        return self.evaluator.goal is not None

    @property
    def is_best(self) -> bool:
        """Whether the best value is wanted."""
        return self.evaluator.goal is not None and self.evaluator.goal.is_best

    def violation(self, value: float) -> float:
        """By how much the value breaks the limit; negative by how much it keeps clear of it."""
        goal = self.evaluator.goal
        if goal is None or self.limit is None:
            return 0.0
        distance = value - self.limit if goal.at_most is not None else self.limit - value
        return 0.0 if abs(distance) < _ROUNDING else distance

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        goal = self.evaluator.goal
        wanted = (
            None if goal is None else "best" if goal.is_best else "at_most" if goal.at_most is not None else "at_least"
        )
        return {
            "key": self.key,
            "metric": self.evaluator.metric,
            "goal": wanted,
            "limit": self.limit,
            "than": None if goal is None else goal.than,
            "larger_is_better": self.sign < 0,
        }


@dataclass(frozen=True)
class Goals:
    """All that is wanted of a point."""

    axes: tuple[Axis, ...]

    @property
    def n_objectives(self) -> int:
        """How many values are to be the best that can be had."""
        return sum(axis.is_best for axis in self.axes)

    def violations(self, metrics: Metrics) -> list[float]:
        """For each limit by how much it is broken; 0 or less where the point keeps to it."""
        return [axis.violation(metrics[axis.key]) for axis in self.axes if axis.limit is not None]

    def keeps(self, metrics: Metrics) -> bool:
        """Whether the point keeps to all limits."""
        return all(violation <= 0 for violation in self.violations(metrics))

    def objectives(self, metrics: Metrics) -> list[float]:
        """What is to be as small as possible, the most important first."""
        return [axis.sign * metrics[axis.key] for axis in self.axes if axis.is_best]

    def best(self, points: Sequence[Metrics]) -> int | None:
        """The index of the best of the points that keep to all limits; None if none does.

        The first evaluator whose goal is the best value decides, the next one where two points are equal in it.
        """
        kept = [index for index, metrics in enumerate(points) if self.keeps(metrics)]
        return min(kept, key=lambda index: self.objectives(points[index])) if kept else None

    def nearest(self, points: Sequence[Metrics]) -> int | None:
        """The index of the best point, or if none keeps to all limits, of the one that breaks them least."""
        if not points:
            return None
        return min(range(len(points)), key=lambda index: (self._broken(points[index]), self.objectives(points[index])))

    def front(self, points: Sequence[Metrics]) -> list[int]:
        """The indices of the points that no other one equals or betters in everything that has a goal."""
        places = [tuple(axis.sign * metrics[axis.key] for axis in self.axes if axis.has_goal) for metrics in points]
        return [index for index, place in enumerate(places) if not any(_dominates(other, place) for other in places)]

    def _broken(self, metrics: Metrics) -> float:
        """The sum of all violations, each as a share of its limit."""
        limits = [axis.limit for axis in self.axes if axis.limit is not None]
        return sum(
            max(0.0, violation) / max(abs(limit), 1.0)
            for violation, limit in zip(self.violations(metrics), limits, strict=True)
        )


def goals_of(evaluators: Sequence[Evaluator], references: Mapping[str, Metrics]) -> Goals:
    """The goals; `references` has what was measured of every recipe that a limit is counted from."""
    keys = metric_keys(evaluators)
    return Goals(
        tuple(Axis(key, each, _limit(each, key, references)) for key, each in zip(keys, evaluators, strict=True))
    )


def metric_keys(evaluators: Sequence[Evaluator]) -> tuple[str, ...]:
    """The key of each evaluator's values: its metric, and `wer#2` where it is about the second group of data sets."""
    groups = data_groups(evaluators)
    return tuple(
        text_key(each.metric, groups.index((each.data, each.limit))) if each.metric in NEED_DATA else each.metric
        for each in evaluators
    )


def data_groups(evaluators: Sequence[Evaluator]) -> list[tuple[tuple[str, ...], int | None]]:
    """Data sets with the limit of clips, each group once: what has to be transcribed."""
    return list(dict.fromkeys((each.data, each.limit) for each in evaluators if each.metric in NEED_DATA))


def text_key(metric: str, group: int) -> str:
    """The key of a metric on that group of data sets, counted from 0."""
    return metric if group == 0 else f"{metric}#{group + 1}"


def _limit(evaluator: Evaluator, key: str, references: Mapping[str, Metrics]) -> float | None:
    goal = evaluator.goal
    if goal is None or goal.is_best:
        return None
    number = goal.at_most if goal.at_most is not None else goal.at_least or 0.0
    return number + (references[goal.than][key] if goal.than is not None else 0.0)


def _dominates(other: Sequence[float], place: Sequence[float]) -> bool:
    return other != place and all(a <= b for a, b in zip(other, place, strict=True))
