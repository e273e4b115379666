"""How far the work is, on standard error while that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar:
    """A bar over the seconds of a recording, or other units; it does nothing where standard error cannot erase."""

    def __init__(self, title: str, *, duration: float, unit: str = "s") -> None:
        """`title` is shown beside the bar; `duration` is its length in units."""
        self._progress = _rich_progress(title, duration, unit) if sys.stderr.isatty() else None

    def move_to(self, position: float) -> None:
        """Shows that so many units are done."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=position)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is open, the bar is on the screen."""
        if self._progress is None:
            yield
            return
        with self._progress:
            yield

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """While it is open, standard output may be written to without drawing over the bar."""
        if self._progress is None or not sys.stdout.isatty():
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()


def _rich_progress(title: str, duration: float, unit: str) -> "Progress | None":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        return None
    # On a narrow terminal the bar shrinks, and a long title is cut; the numbers stay.
    title_column = Column(no_wrap=True, overflow="ellipsis", max_width=max(12, console.width // 3))
    progress = Progress(
        TextColumn("{task.description}", markup=False, table_column=title_column),
        BarColumn(),
        TaskProgressColumn(table_column=Column(no_wrap=True)),
        TextColumn(
            f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}", markup=False, table_column=Column(no_wrap=True)
        ),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        # Standard output may be a file: rich would send what is written there to the terminal instead.
        redirect_stdout=False,
    )
    progress.add_task(title, total=duration)
    return progress
