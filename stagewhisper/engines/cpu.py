"""What every engine on the processor settles before it starts."""

import logging
import os

from stagewhisper.errors import EngineError

logger = logging.getLogger(__name__)


def cpu_threads(engine: str, *, device: str | None, threads: int | None) -> int:
    """The number of threads that the engine of that name may use; 0 leaves it to the engine.

    More than there are cores are reduced to those, with a warning: the others would only wait for each other.

    Raises:
        EngineError: the device is not the CPU, or the number of threads is negative.
    """
    if device not in (None, "cpu"):
        raise EngineError(f"The engine {engine!r} runs on the device 'cpu' only, not on {device!r}.")
    threads = 0 if threads is None else threads
    if not isinstance(threads, int) or threads < 0:
        raise EngineError(f"{threads!r} threads were asked for; give a positive whole number, or 0 for all cores.")
    n_cores = os.cpu_count() or 1
    if threads > n_cores:
        logger.warning("%d threads are more than this machine's cores: using %d.", threads, n_cores)
    return min(threads, n_cores)
