"""Results with given numbers."""

from typing import Any

from stagewhisper.benchmarking import Point, Result


def result(
    engine: str, warm: tuple[float, ...], *, first: float = 1.0, compile_s: float | None = None, **changes: Any
) -> Result:
    """A measured point of a group that was measured in turn; `changes` are the point's or the result's."""
    fields: dict[str, Any] = {
        "device": "cpu", "model": "nano", "dtype": "float32", "batch": 1, "mode": "sequential", "audio": "long",
    }  # fmt: skip
    point = Point(engine, **{name: changes.pop(name, value) for name, value in fields.items()})
    own: dict[str, Any] = {"state": "done", "session": "s", "audio_seconds": 10.0, "n_tokens": 20}
    return Result(point, **{**own, "first": first, "compile": compile_s, "warm": warm, **changes})


def refused(engine: str, reason: str, **changes: Any) -> Result:
    """A point that was not measured."""
    return result(engine, (), first=None, state="refused", reason=reason, **changes)  # type: ignore[arg-type]
