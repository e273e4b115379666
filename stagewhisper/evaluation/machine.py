"""Where and with what an evaluation ran: numbers of speed mean nothing without it."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("stagewhisper", "numpy", "onnxruntime", "av", "soxr", "jiwer", "whisper-normalizer")


def machine(*, threads: int | None = None) -> Mapping[str, Any]:
    """The processor's name, its cores, how many of them the engine was given (None: its choice), and the system."""
    return {"cpu": _cpu_name(), "n_cores": os.cpu_count(), "threads": threads, "system": platform.platform()}


def versions() -> Mapping[str, str]:
    """Version by package, Python's among them; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
