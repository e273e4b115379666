"""The temperatures that decoding tries one after the other."""

import math

from stagewhisper.errors import OptionError


def fallback_temperatures(temperature: float, increment: float | None) -> tuple[float, ...]:
    """`temperature` and, in steps of `increment`, those above it up to 1.0; only the first without an increment.

    The values are those of openai/whisper's `np.arange(temperature, 1.0 + 1e-6, increment)` to the last bit,
    computed here without NumPy: the seed and the output depend on them.

    Raises:
        OptionError: a value is negative, or the increment is 0.
    """
    if temperature < 0:
        raise OptionError(f"--temperature is {temperature}, and has to be 0 or more.")
    if increment is None:
        return (temperature,)
    if increment <= 0:
        raise OptionError(
            f"--temperature-increment-on-fallback is {increment}, and has to be above 0, or None for no fallback."
        )
    count = math.ceil((1.0 + 1e-6 - temperature) / increment)
    # NumPy's step is what is left of the increment once it was added to the start.
    step = (temperature + increment) - temperature
    # Above 1, arange is empty and openai/whisper fails; one try at the wanted temperature is what was meant.
    return tuple(temperature + i * step for i in range(count)) or (temperature,)
