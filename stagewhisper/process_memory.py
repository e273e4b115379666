"""How much memory this process has needed."""

import sys
from pathlib import Path


def peak_bytes() -> int | None:
    """The largest working set of this process so far; None where the system does not tell.

    Linux tells it of the program alone; `getrusage` also counts what the parent had when it started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ModuleNotFoundError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
