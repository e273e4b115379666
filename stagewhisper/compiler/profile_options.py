"""What a profile measures: the kinds of calls, and how often each is made."""

from dataclasses import dataclass

from stagewhisper.compiler.profile_inputs import Call
from stagewhisper.errors import OptionError

DEFAULT_POSITIONS = (10, 100, 440)
"""Tokens in the cache when a step is measured: at a window's start, at a usual length, near the end."""

MOST_REPEATS = 200
"""Recordings are kept whole until they are read; the profiler stops at a million nodes."""


@dataclass(frozen=True)
class ProfileOptions:
    """What is measured.

    Raises:
        OptionError: a number is not positive, or there are too many repeats.
    """

    n_audio: int = 1
    """Windows in one call."""
    n_group: int = 1
    """Beams of each window."""
    n_prompt: int = 4
    """Tokens of the prompt call: start of transcript, language, task, timestamps."""
    positions: tuple[int, ...] | None = None
    """Tokens in the cache at each measured step; None takes those of 10, 100, 440 that the model has."""
    threads: int | None = None
    """Cores that one call may use; None takes all physical ones."""
    repeats: int = 20
    """Calls that are measured, after some that are not; fewer where they take very long."""

    def __post_init__(self) -> None:
        for name in ("n_audio", "n_group", "n_prompt", "repeats"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, and has to be 1 or more.")
        if self.repeats > MOST_REPEATS:
            raise OptionError(f"repeats is {self.repeats}, and has to be {MOST_REPEATS} or less.")
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"threads is {self.threads}, and has to be 1 or more, or None for all physical cores.")


@dataclass(frozen=True)
class Phase:
    """One kind of call of one of a bundle's two graphs."""

    name: str
    graph: str
    call: Call


def phases_of(options: ProfileOptions, *, n_text_ctx: int) -> tuple[Phase, ...]:
    """Encoder, prompt and steps; the prompt has one sequence for each window, the steps one for each beam.

    Raises:
        OptionError: the prompt or a position lies outside the model's text context.
    """
    _check(options, n_text_ctx)
    positions = options.positions
    if positions is None:
        positions = tuple(position for position in DEFAULT_POSITIONS if position < n_text_ctx)
    n_audio, n_seq = options.n_audio, options.n_audio * options.n_group
    return (
        Phase("encoder", "encoder", Call(n_audio=n_audio, n_seq=n_audio, n_new=0, n_past=0)),
        Phase("prompt", "decoder", Call(n_audio=n_audio, n_seq=n_audio, n_new=options.n_prompt, n_past=0)),
        *(
            Phase(f"step at {position}", "decoder", Call(n_audio=n_audio, n_seq=n_seq, n_new=1, n_past=position))
            for position in dict.fromkeys(positions)
        ),
    )


def _check(options: ProfileOptions, n_text_ctx: int) -> None:
    if options.n_prompt > n_text_ctx:
        raise OptionError(f"n_prompt is {options.n_prompt}, but the model has {n_text_ctx} text positions.")
    for position in options.positions or ():
        if not 0 <= position < n_text_ctx:
            raise OptionError(
                f"There is no step at position {position}: this model's go from 0 to {n_text_ctx - 1}, "
                "counted in tokens that stand before it."
            )
