"""What was measured of each point, and the JSON document that holds all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from stagewhisper.benchmarking.measure import Outcome
from stagewhisper.benchmarking.points import Point
from stagewhisper.benchmarking.statistics import p90

FORMAT = 1


@dataclass(frozen=True)
class Result:
    """One point: its times in seconds, and what came of it. None where something was not measured, or is not told."""

    point: Point
    state: str
    """"done", "refused" (the program does not offer it, or is not installed) or "failed"."""
    reason: str | None = None
    session: str = ""
    """Points of one session and one group were measured in turn: their runs are pairs."""
    start: float | None = None
    """From nothing to a loaded model: imports and loading."""
    imports: float | None = None
    load: float | None = None
    compile: float | None = None
    """Before loading (onnxruntime) or within the first run (jax); None for programs that compile nothing."""
    first: float | None = None
    """The first run, with what is compiled in it."""
    warm: tuple[float, ...] = ()
    audio_seconds: float = 0.0
    n_tokens: int = 0
    wer: float | None = None
    host_bytes: int | None = None
    """The most memory that the process had."""
    device_bytes: int | None = None
    same_tokens: float | None = None
    """Share of the windows with the tokens of the group's first float32 point."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether there are warm runs."""
        return self.state == "done" and bool(self.warm)

    @property
    def median(self) -> float:
        """Of the warm runs."""
        return median(self.warm)

    @property
    def p90(self) -> float:
        """Nine in ten warm runs were as fast as this."""
        return p90(self.warm)

    @property
    def rtf(self) -> float:
        """Seconds of work for each second of audio, warm."""
        return self.median / self.audio_seconds

    @property
    def tokens_per_second(self) -> float:
        """Tokens chosen, warm; prompts do not count."""
        return self.n_tokens / self.median

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, with what follows from the times."""
        content = asdict(self)
        content["warm"], content["versions"] = list(self.warm), dict(self.versions)
        derived = {
            "median": self.median if self.is_done else None,
            "p90": self.p90 if self.is_done else None,
            "rtf": self.rtf if self.is_done else None,
            "tokens_per_second": self.tokens_per_second if self.is_done else None,
        }
        return content | derived

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Result":
        """The result that `to_dict` gave.

        Raises:
            KeyError, TypeError: it is another version's.
        """
        own = {name: content[name] for name in cls.__dataclass_fields__}
        return cls(**{**own, "point": Point(**content["point"]), "warm": tuple(content["warm"])})


def result_of(
    point: Point, outcome: Outcome, *, session: str, audio_seconds: float, wer: float | None, same: float | None
) -> Result:
    """The result of a point that was measured, or was not."""
    return Result(
        point=point,
        state=outcome.state,
        reason=outcome.reason,
        session=session,
        start=outcome.start,
        imports=outcome.ready.get("imports"),
        load=outcome.ready.get("load"),
        compile=_added(outcome.compile, outcome.first.get("compile")),
        first=outcome.first.get("elapsed"),
        warm=tuple(outcome.warm),
        audio_seconds=audio_seconds,
        n_tokens=sum(map(len, outcome.tokens)),
        wer=wer,
        host_bytes=outcome.memory.get("host_bytes"),
        device_bytes=outcome.memory.get("device_bytes"),
        same_tokens=same,
        versions=outcome.ready.get("versions", {}),
    )


def document(
    results: Sequence[Result],
    *,
    settings: Mapping[str, Any],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    verdicts: Sequence[Mapping[str, Any]],
    created: str,
) -> dict[str, Any]:
    """Everything, as it goes into results.json."""
    return {
        "format": FORMAT,
        "created": created,
        "machine": dict(machine),
        "versions": dict(versions),
        "settings": dict(settings),
        "points": [result.to_dict() for result in results],
        "verdicts": list(verdicts),
    }


def _added(one: float | None, other: float | None) -> float | None:
    if one is None:
        return other
    return one + (other or 0.0)
