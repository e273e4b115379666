"""What every engine on the processor checks before it starts."""

from stagewhisper.errors import EngineError


def check_cpu(engine: str, *, device: str | None, threads: int | None) -> None:
    """Nothing, if the engine of that name can run so.

    Raises:
        EngineError: the device is not the CPU, or the number of threads is negative.
    """
    if device not in (None, "cpu"):
        raise EngineError(f"The engine {engine!r} runs on the device 'cpu' only, not on {device!r}.")
    if threads is not None and threads < 0:
        raise EngineError(f"{threads} threads were asked for; give a positive number, or 0 for all cores.")
