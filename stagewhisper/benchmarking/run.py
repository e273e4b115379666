"""A benchmark from its grid to its document.

grid ─► points ─► groups ─► measure ─► results ─► journal
                   │ a group's audio is cut into windows once      └─► document, verdicts
                   └ models come in the form that each program reads
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stagewhisper.benchmarking.forms import Form, FormError, form_of, identity
from stagewhisper.benchmarking.journal import Journal
from stagewhisper.benchmarking.measure import Outcome, measure_group, turns
from stagewhisper.benchmarking.points import Grid, Point, groups
from stagewhisper.benchmarking.programs import PROGRAMS, refusal
from stagewhisper.benchmarking.results import Result, result_of
from stagewhisper.benchmarking.task import Decoding, Task
from stagewhisper.benchmarking.texts import special_tokens, word_error_rate
from stagewhisper.benchmarking.windows import Windows, write_windows
from stagewhisper.benchmarking.workloads import Workload
from stagewhisper.errors import OptionError


@dataclass(frozen=True)
class Settings:
    """How points are measured.

    Raises:
        OptionError: a number is impossible.
    """

    decoding: Decoding = field(default_factory=Decoding)
    repeats: int = 5
    """Warm runs."""
    threads: int | None = None
    """Of every program; None leaves the choice to it."""
    interleave: bool = True
    cold: bool = True
    """Whether everything is compiled anew for each point, as a first-time user has it."""
    timeout: float = 3600.0
    """The most seconds that loading, or one run, may take."""
    normalizer: str = "auto"

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise OptionError(f"{self.repeats} repeats were asked for; expected 1 or more, and 5 to judge by.")
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"{self.threads} threads were asked for; expected 1 or more.")
        if self.timeout <= 0:
            raise OptionError(f"The timeout is {self.timeout:g} s; expected more than 0.")


@dataclass(frozen=True)
class Benchmark:
    """All that a run needs."""

    grid: Grid
    settings: Settings
    models: Mapping[str, Path]
    """The checkpoint of each model of the grid."""
    workloads: Mapping[str, Workload]
    """By the names in the grid's `audio`."""
    cache_dir: Path
    random: frozenset[str] = frozenset()
    """Models whose weights are random: what they write has no error rate."""


def run_benchmark(
    benchmark: Benchmark, journal: Journal, *, on_progress: Callable[[float], None], on_result: Callable[[Result], None]
) -> list[Result]:
    """The results of all points, in the order of the grid; those in the journal are not measured again.

    `on_progress` is told how many points are done, in parts of points; `on_result` gets each new result.

    Raises:
        StagewhisperError: the journal or the cache cannot be written, or a package for error rates is missing.
    """
    points = benchmark.grid.points()
    found: dict[Point, Result] = {}
    for group in groups(points):
        found |= {point: known for point in group if (known := journal.find(_depends(benchmark, point))) is not None}
        on_progress(len(found))
        missing = [point for point in group if point not in found]
        if missing:
            done = len(found)
            for result in _measured(benchmark, missing, _shifted(on_progress, done)):
                found[result.point] = result
                journal.add(_depends(benchmark, result.point), result)
                on_result(result)
        on_progress(len(found))
    return [found[point] for point in points]


def _shifted(on_progress: Callable[[float], None], start: float) -> Callable[[float], None]:
    return lambda part: on_progress(start + part)


def _measured(benchmark: Benchmark, points: Sequence[Point], on_part: Callable[[float], None]) -> list[Result]:
    """Results of points of one group."""
    workload = benchmark.workloads[points[0].audio]
    session = datetime.now(UTC).isoformat(timespec="microseconds")
    with tempfile.TemporaryDirectory(prefix="stagewhisper-benchmark-") as name:
        folder = Path(name)
        windows = write_windows(
            folder / "audio", [r.samples for r in workload.recordings], [r.language for r in workload.recordings]
        )
        outcomes = _outcomes(benchmark, points, folder, on_part)
    expected = _expected(outcomes)
    return [
        _result(benchmark, point, outcomes[point], windows=windows, session=session, expected=expected)
        for point in points
    ]


def _outcomes(
    benchmark: Benchmark, points: Sequence[Point], folder: Path, on_part: Callable[[float], None]
) -> dict[Point, Outcome]:
    outcomes: dict[Point, Outcome] = {}
    tasks: dict[Point, Task] = {}
    compiling: dict[Point, float] = {}
    for number, point in enumerate(points):
        reason = refusal(point.engine, device=point.device, dtype=point.dtype)
        if reason is not None:
            outcomes[point] = Outcome("refused", reason)
            continue
        try:
            form = _form(benchmark, point, folder / f"cache-{number}")
        except FormError as error:
            outcomes[point] = Outcome("failed", str(error))
            continue
        tasks[point] = _task(benchmark, point, form.path, folder, number)
        if form.compile is not None:
            compiling[point] = form.compile
    settings = benchmark.settings
    n_turns = 0

    def on_turn() -> None:
        nonlocal n_turns
        n_turns += 1
        on_part(len(outcomes) + n_turns / turns(settings.repeats))

    measured = measure_group(
        tasks,
        repeats=settings.repeats,
        interleave=settings.interleave,
        timeout=settings.timeout,
        logs=folder,
        on_turn=on_turn,
    )
    for point, seconds in compiling.items():
        measured[point].compile = seconds
    return outcomes | measured


def _form(benchmark: Benchmark, point: Point, cold_cache: Path) -> Form:
    return form_of(
        benchmark.models[point.model],
        PROGRAMS[point.engine].form,
        dtype=point.dtype,
        cache_dir=benchmark.cache_dir,
        bundles=cold_cache if benchmark.settings.cold else benchmark.cache_dir,
    )


def _task(benchmark: Benchmark, point: Point, model: Path, folder: Path, number: int) -> Task:
    settings = benchmark.settings
    # Random weights never choose a special token, so that suppressing them would only cost time.
    is_free = settings.decoding.n_tokens is None or point.model in benchmark.random
    cache = folder / f"cache-{number}" if settings.cold else benchmark.cache_dir
    return Task(
        engine=point.engine,
        device=point.device,
        dtype=point.dtype,
        batch=point.batch,
        model=str(model),
        audio=str(folder / "audio"),
        decoding=settings.decoding,
        suppressed=() if is_free else special_tokens(benchmark.models[point.model]),
        threads=settings.threads,
        cache_dir=str(cache),
    )


def _expected(outcomes: Mapping[Point, Outcome]) -> list[list[int]] | None:
    """The tokens that others are compared with: the first in float32."""
    done = (o.tokens for point, o in outcomes.items() if o.state == "done" and point.dtype == "float32")
    return next(done, None)


def _result(
    benchmark: Benchmark,
    point: Point,
    outcome: Outcome,
    *,
    windows: Windows,
    session: str,
    expected: list[list[int]] | None,
) -> Result:
    workload = benchmark.workloads[point.audio]
    wer = same = None
    if outcome.state == "done":
        if expected is not None:
            same = sum(a == b for a, b in zip(outcome.tokens, expected, strict=True)) / len(windows)
        is_judged = workload.has_texts and point.model not in benchmark.random
        if is_judged and benchmark.settings.decoding.n_tokens is None:
            wer = word_error_rate(
                workload,
                windows,
                outcome.tokens,
                model=benchmark.models[point.model],
                normalizer=benchmark.settings.normalizer,
            )
    return result_of(point, outcome, session=session, audio_seconds=workload.duration, wer=wer, same=same)


def _depends(benchmark: Benchmark, point: Point) -> dict[str, Any]:
    """Everything that a point's result depends on."""
    settings = {name: value for name, value in asdict(benchmark.settings).items() if name != "timeout"}
    return {
        **point.to_dict(),
        **settings,
        "files": identity([benchmark.models[point.model]]),
        "samples": benchmark.workloads[point.audio].digest(),
    }
