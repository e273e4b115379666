"""Which point of a space is looked at next: optuna's tree-structured Parzen estimator, told of everything measured.

    start ─► ask ─► point ─► compiled and measured ─► tell ─► ask ─► …

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; optuna's TPESampler.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from stagewhisper.errors import StagewhisperError

N_AT_RANDOM = 8
"""Points before the estimator has enough to go by."""
N_DRAWS = 25
"""Known points in a row after which one that is not known is looked for beside them."""

Indices = tuple[int, ...]
"""The index of a value for each choice of a group."""


@dataclass(frozen=True)
class Outcome:
    """What the estimator is told of a point."""

    objectives: Sequence[float]
    """To be as small as possible."""
    violations: Sequence[float]
    """Of limits; 0 or less is kept."""


def check_optuna() -> None:
    """Nothing, if optuna can be imported.

    Raises:
        StagewhisperError: it cannot; the message says how to get it.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise StagewhisperError(
            f"Searching needs the package {error.name!r}, which is not installed. "
            "Install it with: pip install '.[search]'"
        ) from error
    if not hasattr(optuna.trial.Trial, "set_constraint"):
        raise StagewhisperError(
            f"Searching needs optuna 5 or later, and this is {optuna.__version__}. "
            "Install it with: pip install '.[search]'"
        )


class Study:
    """Asks for points of a group of choices, and is told what came of them."""

    def __init__(self, sizes: Mapping[str, int], *, n_objectives: int, seed: int) -> None:
        """`sizes` are the numbers of values of each choice, by its name."""
        import optuna

        self._optuna = optuna
        self._random = Random(seed)  # noqa: S311  nothing is secret
        self._choices: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(tuple(range(size))) for name, size in sizes.items()
        }
        with self._quiet():
            self._study = optuna.create_study(
                sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=N_AT_RANDOM),
                directions=[optuna.study.StudyDirection.MINIMIZE] * n_objectives,
            )

    def tell(self, indices: Indices, outcome: Outcome | None) -> None:
        """What came of a point; None if it failed."""
        state = self._optuna.trial.TrialState
        with self._quiet():
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    state=state.FAIL if outcome is None else state.COMPLETE,
                    values=None if outcome is None else list(outcome.objectives),
                    params=dict(zip(self._choices, indices, strict=True)),
                    distributions=self._choices,
                    constraints=None
                    if outcome is None
                    else {f"limit {number}": value for number, value in enumerate(outcome.violations)},
                )
            )

    def ask(self, is_known: Callable[[Indices], bool]) -> Indices | None:
        """A point that is not known: the estimator's, or if it proposes known ones alone, one beside them.

        None if all of these are known.
        """
        proposed: dict[Indices, None] = {}
        with self._quiet():
            for _ in range(N_DRAWS):
                trial = self._study.ask(self._choices)
                indices = tuple(int(trial.params[name]) for name in self._choices)
                # Whatever comes of it is told by `tell`, so that points found in a file are told in the same way.
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                if not is_known(indices):
                    return indices
                proposed[indices] = None
        return next((each for point in proposed for each in self._beside(point) if not is_known(each)), None)

    def _beside(self, indices: Indices) -> list[Indices]:
        """The points that differ in one choice, in a random order."""
        found = [
            (*indices[:place], index, *indices[place + 1 :])
            for place, choice in enumerate(self._choices.values())
            for index in range(len(choice.choices))
            if index != indices[place]
        ]
        self._random.shuffle(found)
        return found

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without optuna's own lines on standard error."""
        logging: Any = self._optuna.logging
        former = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            yield
        finally:
            logging.set_verbosity(former)
