"""Who is kept out of training, so that the results on them are results on strangers."""

from collections.abc import Iterable

HELD_OUT_DIGIT_SPEAKER = "fsdd-jackson"


def held_out_speakers(speakers: Iterable[str]) -> set[str]:
    """One of the three speakers of digits, and every eighth of AN4's in alphabetical order."""
    census = sorted(speaker for speaker in set(speakers) if speaker.startswith("an4-"))
    return {HELD_OUT_DIGIT_SPEAKER, *census[::8]}
