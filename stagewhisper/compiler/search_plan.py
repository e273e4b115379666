"""In which order the points of a space are looked at.

    joint           all choices at once
    pass-by-pass    the choices of the first pass, the others as the recipe has them; then those of the next pass around
                    the best point so far; and so on, each with an equal share of the trials that are left

Each group of choices begins with the point that it is looked for around, goes on with what an earlier search measured,
and then asks the study; when that has nothing new to propose, what is left of the space is taken in its order.
"""

from collections.abc import Iterator, Sequence

from stagewhisper.compiler.recipe import Recipe
from stagewhisper.compiler.search_footprint import Record
from stagewhisper.compiler.search_goals import Goals
from stagewhisper.compiler.search_space import Point, Space, with_indices
from stagewhisper.compiler.search_study import Outcome, Study


class SearchPlan:
    """Chooses points, and has to be told what came of each."""

    def __init__(self, recipe: Recipe, space: Space, goals: Goals, known: Sequence[Record]) -> None:
        """`known` are records of an earlier search; those of other recipes do not matter."""
        assert recipe.search is not None, "check_search has looked"  # noqa: S101
        pass_by_pass = recipe.search.strategy == "pass-by-pass"
        self.n_trials = min(recipe.search.trials, space.n_points(pass_by_pass=pass_by_pass))
        self._space, self._goals = space, goals
        self._seed = recipe.search.seed
        self._groups = space.groups(pass_by_pass=pass_by_pass)
        self._known = [(point, record.recipe) for record in known if (point := space.point_of(record.choices))]
        self._records: dict[str, Record] = {}

    @property
    def records(self) -> tuple[Record, ...]:
        """Of all points that were visited."""
        return tuple(self._records.values())

    @property
    def done(self) -> list[Record]:
        """Of those that did not fail."""
        return [record for record in self._records.values() if record.is_done]

    @property
    def best(self) -> Record | None:
        """The best one that keeps to all limits."""
        done = self.done
        index = self._goals.best([record.metrics for record in done])
        return None if index is None else done[index]

    def points(self) -> Iterator[tuple[Point, Recipe]]:
        """The points with their recipes; `visited` has to be called before the next one is taken."""
        start = self._space.start
        for number, group in enumerate(self._groups):
            n_left = self.n_trials - len(self._records)
            yield from self._of_group(start, group, n_points=-(-n_left // (len(self._groups) - number)))
            start = self._around() or start

    def visited(self, record: Record) -> None:
        """What came of the point that was given last."""
        self._records[record.recipe] = record

    def _of_group(self, start: Point, group: Sequence[int], *, n_points: int) -> Iterator[tuple[Point, Recipe]]:
        names = [self._space.names[place] for place in group]
        sizes = {name: len(self._space.choices[place].values) for name, place in zip(names, group, strict=True)}
        study = Study(sizes, n_objectives=self._goals.n_objectives, seed=self._seed)
        end = len(self._records) + n_points
        for point in self._candidates(study, start, group):
            recipe = self._space.recipe_of(point)
            digest = recipe.digest_without()
            if digest not in self._records:
                if len(self._records) >= end:
                    return
                yield point, recipe
            study.tell(_part(point, group), self._outcome(self._records[digest]))

    def _candidates(self, study: Study, start: Point, group: Sequence[int]) -> Iterator[Point]:
        yield start
        for point, digest in self._known:
            is_near = point != start and with_indices(point, group, _part(start, group)) == start
            if is_near and self._digest(point) == digest:
                yield point
        while (indices := study.ask(lambda each: self._is_visited(with_indices(start, group, each)))) is not None:
            yield with_indices(start, group, indices)
        yield from (point for point in self._space.around(start, group) if not self._is_visited(point))

    def _is_visited(self, point: Point) -> bool:
        return self._digest(point) in self._records

    def _digest(self, point: Point) -> str:
        return self._space.recipe_of(point).digest_without()

    def _around(self) -> Point | None:
        """The best point, or if none keeps to all limits, the nearest to it."""
        done = self.done
        index = self._goals.nearest([record.metrics for record in done])
        return None if index is None else self._space.point_of(done[index].choices)

    def _outcome(self, record: Record) -> Outcome | None:
        if not record.is_done:
            return None
        return Outcome(self._goals.objectives(record.metrics), self._goals.violations(record.metrics))


def _part(point: Point, group: Sequence[int]) -> Point:
    return tuple(point[place] for place in group)
