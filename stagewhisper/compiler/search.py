"""Look for a better recipe: choose a point, compile it, measure it, keep what was found, choose the next.

    recipe ─► Space ─► SearchPlan ─► point ─► compile ─► Measurer ─► Footprint ─► SearchPlan ─┐
                           ▲                                                                  │
                           └──────────────────────────────────────────────────────────────────┘
                       Found: the best point that keeps to the limits, and the Pareto front

No recipe is measured twice: neither when two points come to the same recipe, nor when a search is run again after it
was stopped. A point that cannot be compiled, breaks the numbers or cannot be run is noted with the reason.
"""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.compile import (
    compile_checkpoint,
    compiled,
    compiler_version,
    default_cache_dir,
    source_digest,
)
from stagewhisper.compiler.recipe import Recipe
from stagewhisper.compiler.recipe_rules import check_recipe
from stagewhisper.compiler.search_best import BestBundle
from stagewhisper.compiler.search_check import check_search, references_of
from stagewhisper.compiler.search_footprint import DONE, FAILED, Footprint, Record
from stagewhisper.compiler.search_goals import Goals, goals_of
from stagewhisper.compiler.search_lock import alone_in
from stagewhisper.compiler.search_measure import Measurer, MeasureText
from stagewhisper.compiler.search_plan import SearchPlan
from stagewhisper.compiler.search_space import Point, Space
from stagewhisper.errors import CompilerError, OptionError, StagewhisperError

logger = logging.getLogger(__name__)

FOOTPRINT, POINTS = "footprint.jsonl", "points"


@dataclass(frozen=True)
class SearchOptions:
    """How a search is carried out, beyond what the recipe says."""

    threads: int | None = None
    """Cores that one call may use; None takes all physical ones."""
    check: str = "end"
    """When the numbers of each point's graphs are compared: "each", "end" or "off"."""
    cache_dir: Path | None = None
    """Where the bundles of the recipes that limits are counted from are kept; None is the user's cache."""
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    """Plain data on which the values depend besides: the machine, and the data sets' digest."""


@dataclass(frozen=True)
class Found:
    """What a search knows at its end."""

    space: Space
    goals: Goals
    references: Mapping[str, Record]
    """By the names of the recipes that limits are counted from; the first is the one times are taken beside."""
    points: tuple[Record, ...]
    """All points, failed ones too, in the order in which they were looked at."""
    front: tuple[Record, ...]
    """Points that no other one equals or betters in everything that has a goal."""
    best: Record | None
    """None if no point keeps to all limits."""
    bundle: Bundle | None
    """The best point's."""
    circumstances: Mapping[str, Any]

    def recipe_of(self, record: Record) -> Recipe:
        """The recipe of one of the points."""
        point = self.space.point_of(record.choices)
        assert point is not None, "a point's record has values of the space"  # noqa: S101
        return self.space.recipe_of(point)


def search(
    checkpoint: Checkpoint,
    recipe: Recipe,
    folder: Path,
    *,
    measure_text: MeasureText | None = None,
    options: SearchOptions | None = None,
    on_point: Callable[[Record, int, int], None] | None = None,
) -> Found:
    """The best recipe that the search in `recipe` finds for the checkpoint, and all that was measured.

    `folder` gets the footprint and the best bundle; what an earlier search left there is gone on with. `on_point` is
    told each point's record, how many are done, and how many there will be at most.

    Raises:
        OptionError: the recipe has no search, cannot be carried out, or needs what is not given.
        StagewhisperError: optuna is missing, the folder cannot be written, another search is at work there, or a
            reference cannot be measured.
    """
    check_search(recipe)
    _make(folder)
    with alone_in(folder):
        shutil.rmtree(folder / POINTS, ignore_errors=True)  # of a search that was stopped
        searching = _Searching(checkpoint, recipe, folder, options or SearchOptions())
        return searching.found(measure_text, on_point or _say_nothing)


class _Searching:
    """One search at work."""

    def __init__(self, checkpoint: Checkpoint, recipe: Recipe, folder: Path, options: SearchOptions) -> None:
        self._checkpoint, self._recipe, self._folder, self._options = checkpoint, recipe, folder, options
        self._source = source_digest(checkpoint, cache_dir=options.cache_dir or default_cache_dir())
        self._references = references_of(recipe)
        self._circumstances = self._all_circumstances()
        self._footprint = Footprint(folder / FOOTPRINT, circumstances=self._circumstances)
        if self._footprint.n_others:
            logger.info("%d lines of %s were measured otherwise.", self._footprint.n_others, folder / FOOTPRINT)

    def found(self, measure_text: MeasureText | None, on_point: Callable[[Record, int, int], None]) -> Found:
        """All of it."""
        references = self._measured_references(measure_text)
        goals = goals_of(self._recipe.evaluators, {name: each.metrics for name, each in references.items()})
        space = Space(self._recipe)
        plan = SearchPlan(self._recipe, space, goals, self._footprint.records)
        best = BestBundle(self._folder, self._source, compile_into=self._compile)
        for point, recipe in plan.points():
            record = self._record_of(point, recipe, space)
            plan.visited(record)
            path = self._path(recipe)
            if plan.best is record:
                best.keep(path, record.recipe)
            shutil.rmtree(path, ignore_errors=True)
            on_point(record, len(plan.records), plan.n_trials)
        shutil.rmtree(self._folder / POINTS, ignore_errors=True)
        done = plan.done
        found = Found(
            space=space,
            goals=goals,
            references=references,
            points=plan.records,
            front=tuple(done[index] for index in goals.front([record.metrics for record in done])),
            best=plan.best,
            bundle=None,
            circumstances=self._circumstances,
        )
        if found.best is None:
            best.remove()
            return found
        return replace(found, bundle=best.bundle(found.recipe_of(found.best)))

    def _measured_references(self, measure_text: MeasureText | None) -> dict[str, Record]:
        """The records of the recipes that limits are counted from, the first of which all times are counted by."""
        bundles = {
            name: compiled(self._checkpoint, recipe=recipe, cache_dir=self._options.cache_dir)
            for name, recipe in self._references.items()
        }
        self._measurer = Measurer(
            self._recipe.evaluators,
            next(iter(bundles.values())),
            measure_text=measure_text,
            threads=self._options.threads,
        )
        records: dict[str, Record] = {}
        for name, bundle in bundles.items():
            records[name] = self._reference(self._references[name], bundle)
            if len(records) == 1:
                self._measurer.count_from(records[name])
        return records

    def _reference(self, recipe: Recipe, bundle: Bundle) -> Record:
        record = self._footprint.find(recipe.digest_without())
        if record is not None and record.is_done and self._measurer.is_whole(record):
            return record
        logger.info("Measuring %s, the recipe that limits are counted from", recipe.name)
        started = time.monotonic()
        metrics, details = self._measurer.measured(bundle)
        made = _record(recipe, {}, started, metrics=metrics, details=details)
        self._footprint.add(made)
        return made

    def _record_of(self, point: Point, recipe: Recipe, space: Space) -> Record:
        """What is known of the point, measured now if need be."""
        values = space.values_of(point)
        known = self._footprint.find(recipe.digest_without())
        if known is not None and self._measurer.is_whole(known):
            return replace(known, choices=values)
        record = self._measured_point(recipe, values)
        self._footprint.add(record)
        return record

    def _measured_point(self, recipe: Recipe, values: Mapping[str, Any]) -> Record:
        started = time.monotonic()
        try:
            bundle = self._compile(recipe, self._path(recipe))
            metrics, details = self._measurer.measured(bundle)
        except CompilerError as error:
            return _record(recipe, values, started, state=FAILED, reason=str(error))
        return _record(recipe, values, started, metrics=metrics, details=details)

    def _compile(self, recipe: Recipe, path: Path) -> Bundle:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            check_recipe(recipe)
            report = compile_checkpoint(
                self._checkpoint, path, source=self._source, recipe=recipe, check=self._options.check
            )
        except OptionError as error:  # these values do not go together
            raise CompilerError(str(error)) from error
        return report.bundle

    def _path(self, recipe: Recipe) -> Path:
        return self._folder / POINTS / recipe.digest_without()[:16]

    def _all_circumstances(self) -> dict[str, Any]:
        first = next(iter(self._references.values()))
        return {
            "checkpoint": self._source,
            "compiler": compiler_version(),
            "reference": first.digest_without(),
            "threads": self._options.threads,
            **self._options.circumstances,
        }


def _say_nothing(record: Record, n_done: int, n_all: int) -> None:
    pass


def _record(recipe: Recipe, choices: Mapping[str, Any], started: float, *, state: str = DONE, **values: Any) -> Record:
    return Record(
        recipe=recipe.digest_without(),
        choices=choices,
        state=state,
        seconds=time.monotonic() - started,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **values,
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StagewhisperError(
            f"Cannot write to {folder}: {error.strerror or error}. Name another folder, or make room there."
        ) from error
