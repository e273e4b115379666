"""What a worker process is asked to do, as both sides of the pipe understand it.

    parent                                worker
      │  Task, one line of JSON             │
      ├────────────────────────────────────►│ imports, loads
      │◄── {"imports": …, "load": …, "versions": …} or {"cannot": reason}
      │  "run"                              │
      ├────────────────────────────────────►│ all audio once
      │◄──────────────────────────── {"elapsed": …, "compile": …, "tokens": …}
      │  "memory"                           │
      ├────────────────────────────────────►│
      │◄──────────────────────────── {"host_bytes": …, "device_bytes": …}

It answers as often as it is asked, and ends when nobody can ask any more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stagewhisper.errors import OptionError


@dataclass(frozen=True)
class Decoding:
    """How every program decodes a window: without timestamps, nothing suppressed, no fallback, no text before it.

    Raises:
        OptionError: a number is impossible.
    """

    n_beams: int = 1
    """1 is greedy."""
    n_tokens: int | None = None
    """Exactly so many tokens for each window, the end being suppressed; None goes on to the end, or to 224 tokens."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_beams <= 128:
            raise OptionError(f"{self.n_beams} beams were asked for; expected 1 (greedy) to 128.")
        if self.n_tokens is not None and not 1 <= self.n_tokens <= 224:
            raise OptionError(f"{self.n_tokens} tokens were asked for; a window has 1 to 224, or 'free'.")


@dataclass(frozen=True)
class Task:
    """One point as its process is told of it."""

    engine: str
    device: str
    dtype: str
    batch: int
    model: str
    """The checkpoint in the form that this program reads."""
    audio: str
    """A folder that `workloads.write_audio` has written."""
    decoding: Decoding
    suppressed: tuple[int, ...]
    """Tokens that are never chosen: the end and other special ones, where the number of tokens is fixed."""
    threads: int | None
    """None leaves the choice to the program."""
    cache_dir: str | None
    """Where compiled models and programs are kept: a new folder has everything compiled anew."""

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Task":
        """The task that `to_dict` gave."""
        decoding = Decoding(**content["decoding"])
        return cls(**{**content, "decoding": decoding, "suppressed": tuple(content["suppressed"])})


class CannotError(Exception):
    """The program does not offer what a point asks; the message is the reason."""
