"""How long a program compiled while it ran: JAX tells how long each reading, lowering and compiling took.

run    ├───────────────────────────────────────┤
told      ├─read──┤ ├lower┤├───compile────┤          nested ones are counted once
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_PHASES = "/jax/core/compile/"


@dataclass
class CompileClock:
    """Listens from now on; it hears nothing where JAX is not in use."""

    is_heard: bool = False
    _spans: list[tuple[float, float]] = field(default_factory=list)

    def listen(self) -> None:
        """Ask JAX, if it is imported, to tell."""
        jax = sys.modules.get("jax")
        if jax is not None:
            jax.monitoring.register_event_duration_secs_listener(self._hear)
            self.is_heard = True

    def take(self) -> float | None:
        """Seconds since the last call in which something was compiled; None where nobody tells."""
        if not self.is_heard:
            return None
        spans, self._spans = self._spans, []
        return covered(spans)

    def _hear(self, event: str, duration: float, **_: str | int) -> None:
        if event.startswith(_PHASES):
            now = time.perf_counter()
            self._spans.append((now - duration, now))


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds within at least one of the spans (start, end)."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
