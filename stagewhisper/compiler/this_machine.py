"""What of a machine and its software decides which of two kernels is the faster one."""

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def kernel_identity(*, threads: int | None) -> Mapping[str, str | int]:
    """The processor, what it can do, how many cores a call may use, and ONNX Runtime's version."""
    facts = _first_processor()
    name = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags") or facts.get("Features") or ""
    n_cores = os.cpu_count() or 1
    return {
        "cpu": name,
        "instructions": hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:16],
        "cache": facts.get("cache size", ""),
        "threads": min(threads, n_cores) if threads else n_cores,
        "system": f"{platform.system()} {platform.machine()}",
        "onnxruntime": version("onnxruntime"),
    }


def _first_processor() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
