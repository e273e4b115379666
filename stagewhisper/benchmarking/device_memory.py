"""How much memory a program has needed on its device, where its framework tells."""

import sys
from typing import Any


def peak_device_bytes(engine: str, device: str) -> int | None:
    """The most that was in use at once; None on the processor, and for programs that do not tell."""
    if device == "cpu":
        return None
    if engine == "jax":
        return _jax_peak(sys.modules["jax"])
    torch = sys.modules.get("torch")
    if engine != "faster-whisper" and torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return None


def _jax_peak(jax: Any) -> int | None:
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else int(peak)
