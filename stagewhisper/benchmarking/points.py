"""What is measured: a grid of choices, and the points that come of it.

    engines × devices × models × dtypes × batches × modes × audio ──► points ──► groups

The mode "sequential" goes through the audio one window after the other, "batched" takes so many windows side by side. A
batch of one is the same as sequential, and is called so: each piece of work occurs once. Points of a group do the same
work, and are measured in turn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from stagewhisper.benchmarking.programs import DTYPES, MODES, PROGRAMS
from stagewhisper.errors import OptionError

DEVICES = ("cpu", "cuda", "mps", "tpu")


@dataclass(frozen=True)
class Point:
    """One program at one piece of work."""

    engine: str
    device: str
    model: str
    """As the user named it."""
    dtype: str
    batch: int
    """Windows side by side."""
    mode: str
    audio: str
    """The name of what is transcribed."""

    @property
    def group(self) -> tuple[str, str, str, int]:
        """What all points measured in turn share: audio, model, mode, batch."""
        return (self.audio, self.model, self.mode, self.batch)

    @property
    def label(self) -> str:
        """What tells a point from others of its group."""
        return f"{self.engine} {self.device} {self.dtype}"

    def to_dict(self) -> dict[str, str | int]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True)
class Grid:
    """The values of every axis.

    Raises:
        OptionError: an axis is empty, or a value unknown.
    """

    engines: tuple[str, ...]
    models: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[str, ...] = ("float32",)
    batches: tuple[int, ...] = (1, 8)
    modes: tuple[str, ...] = MODES
    audio: tuple[str, ...] = ("long",)

    def __post_init__(self) -> None:
        _check("engine", self.engines, tuple(PROGRAMS))
        _check("dtype", self.dtypes, DTYPES)
        _check("mode", self.modes, MODES)
        _check("device", tuple(device.partition(":")[0] for device in self.devices), DEVICES)
        for name in ("models", "batches", "audio"):
            if not getattr(self, name):
                raise OptionError(f"No {name} were given; name at least one.")
        for batch in self.batches:
            if batch < 1:
                raise OptionError(f"A batch of {batch} was asked for; it has to be 1 or more.")

    def points(self) -> tuple[Point, ...]:
        """All points, each once, those of a group side by side."""
        axes = (self.audio, self.models, self.modes, self.batches, self.devices, self.dtypes, self.engines)
        found = [
            Point(engine, device, model, dtype, *_work(mode, batch), audio)
            for audio, model, mode, batch, device, dtype, engine in product(*axes)
        ]
        return tuple(dict.fromkeys(found))


def groups(points: Sequence[Point]) -> Iterator[tuple[Point, ...]]:
    """The points that are measured in turn, group by group."""
    for key in dict.fromkeys(point.group for point in points):
        yield tuple(point for point in points if point.group == key)


def _work(mode: str, batch: int) -> tuple[int, str]:
    return (1, "sequential") if mode == "sequential" or batch == 1 else (batch, "batched")


def _check(kind: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not values:
        raise OptionError(f"No {kind} was given; known: {', '.join(known)}.")
    for value in values:
        if value not in known:
            raise OptionError(f"No {kind} named {value!r}. Known: {', '.join(known)}.")
