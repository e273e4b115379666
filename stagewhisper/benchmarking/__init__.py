"""Which engine or program is faster on this machine, with the same decoding for all."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagewhisper.benchmarking.journal import Journal
    from stagewhisper.benchmarking.points import Grid, Point
    from stagewhisper.benchmarking.results import Result
    from stagewhisper.benchmarking.run import Benchmark, Settings, run_benchmark
    from stagewhisper.benchmarking.task import Decoding
    from stagewhisper.benchmarking.workloads import Recording, Workload

__all__ = [
    "Benchmark",
    "Decoding",
    "Grid",
    "Journal",
    "Point",
    "Recording",
    "Result",
    "Settings",
    "Workload",
    "run_benchmark",
]

_HOMES = {
    "Benchmark": "run",
    "Decoding": "task",
    "Grid": "points",
    "Journal": "journal",
    "Point": "points",
    "Recording": "workloads",
    "Result": "results",
    "Settings": "run",
    "Workload": "workloads",
    "run_benchmark": "run",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a worker starts here, and must hold nothing that its program does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
