"""What a driver is: a program behind two calls, so that all are measured by the same code."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from stagewhisper.arrays import Samples
from stagewhisper.benchmarking.task import CannotError, Task

N_PROMPT = 4
"""Start, language, task, no timestamps."""


@runtime_checkable
class Decode(Protocol):
    """Windows of 30 s in one language → the tokens of each, without prompt and end; all are decoded side by side."""

    def __call__(self, windows: Sequence[Samples], /, *, language: str) -> list[list[int]]:
        """The tokens of each window."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A program that is ready."""

    decode: Decode
    load: float
    """Seconds from the files to a model in memory."""


@runtime_checkable
class Driver(Protocol):
    """A module of this folder whose name begins with `drive_`."""

    def prepare(self, task: Task) -> None:
        """Import all that the program needs."""
        ...

    def load(self, task: Task) -> Loaded:
        """The program with its model.

        Raises:
            CannotError: it does not offer what the task asks.
        """
        ...


def foreign(module: str) -> Any:
    """A package that is not ours, by name: mere presence of this folder must not make anybody install it.

    Raises:
        CannotError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise CannotError(f"the package {error.name!r} is not installed") from error


def torch_on(device: str, *, threads: int | None) -> Any:
    """torch with so many threads.

    Raises:
        CannotError: it does not see that device.
    """
    torch = foreign("torch")
    if threads is not None:
        torch.set_num_threads(threads)
    kind = device.partition(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise CannotError("torch sees no CUDA device")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise CannotError("torch sees no MPS device")
    return torch
