"""How one window is decoded, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewhisper.errors import OptionError

MOST_SEQUENCES = 128
"""More beams or draws than ever pay: beyond, only time and memory grow."""


@dataclass(frozen=True)
class DecodingOptions:
    """Options of one decoding, with openai/whisper's names, meanings and defaults.

    Raises:
        OptionError: a value is impossible, or two options exclude each other.
    """

    task: str = "transcribe"
    """"transcribe" in the spoken language, or "translate" into English."""
    language: str | None = None
    """Code of the spoken language; None detects it for each window."""
    temperature: float = 0.0
    """0 takes the most probable token; above, tokens are drawn from the distribution sharpened by 1/temperature."""
    sample_len: int | None = None
    """The most tokens to decode; None is half of the text context, 224."""
    best_of: int | None = None
    """Sequences drawn side by side, of which the best is kept; needs a temperature above 0."""
    beam_size: int | None = None
    """Beams of a beam search; needs temperature 0."""
    patience: float | None = None
    """Beam search goes on until beam_size · patience sequences have ended; None is 1. Source: arXiv:2204.05424."""
    length_penalty: float | None = None
    """Exponent α from 0 to 1 of the length normalisation; None divides by the length. Source: arXiv:1609.08144."""
    prompt: str | Sequence[int] | None = None
    """Text or tokens that came before the window."""
    prefix: str | Sequence[int] | None = None
    """Text or tokens that the window's transcript must begin with."""
    suppress_tokens: str | Sequence[int] | None = "-1"
    """Token ids never to emit; -1 among them stands for symbols that are not spoken. None or "" suppresses none."""
    suppress_blank: bool = True
    """Never begin with a space or with the end."""
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    """The first timestamp may not be later than this, in seconds."""
    seed: int = 0
    """Seed of the draws at a temperature above 0; equal seeds give equal results, whatever runs beside."""

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_combinations(self)


def _check_choices(options: DecodingOptions) -> None:
    if options.task not in ("transcribe", "translate"):
        raise OptionError(f"No task named {options.task!r}. Known: transcribe, translate.")
    if not 0 <= options.temperature < float("inf"):
        raise OptionError(f"temperature is {options.temperature}; it must be 0 or more, and is seldom above 1.")
    if options.sample_len is not None and options.sample_len < 1:
        raise OptionError(f"sample_len is {options.sample_len}; it must be 1 or more.")
    for name in ("best_of", "beam_size"):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= MOST_SEQUENCES:
            raise OptionError(f"{name} is {value}; it must lie between 1 and {MOST_SEQUENCES}.")
    if options.length_penalty is not None and not 0 <= options.length_penalty <= 1:
        raise OptionError(f"length_penalty is {options.length_penalty}; it must lie between 0 and 1.")
    if options.patience is not None and not 0 < options.patience < float("inf"):
        raise OptionError(f"patience is {options.patience}; it must be above 0.")
    if options.max_initial_timestamp is not None and not 0 <= options.max_initial_timestamp < float("inf"):
        raise OptionError(f"max_initial_timestamp is {options.max_initial_timestamp}; give seconds, or None for any.")
    if options.seed < 0:
        raise OptionError(f"seed is {options.seed}; it must be 0 or more.")


def _check_combinations(options: DecodingOptions) -> None:
    if options.beam_size is not None and options.best_of is not None:
        raise OptionError("beam_size and best_of exclude each other: the first searches, the second draws.")
    if options.best_of is not None and options.temperature == 0:
        raise OptionError("best_of needs a temperature above 0: at 0 every draw is the same.")
    if options.patience is not None and options.beam_size is None:
        raise OptionError("patience needs beam_size: it prolongs a beam search.")
    if options.beam_size is not None and round(options.beam_size * (options.patience or 1.0)) < 1:
        raise OptionError(
            f"patience is {options.patience}; with beam_size {options.beam_size} no sequence would be kept."
        )
    if options.beam_size is not None and options.temperature > 0:
        raise OptionError("beam_size needs temperature 0: above it tokens are drawn, not searched.")


@dataclass(frozen=True)
class DecodingResult:
    """What one window was decoded to."""

    tokens: tuple[int, ...]
    """Text and timestamp tokens, without prompt, prefix and end."""
    text: str
    language: str
    temperature: float
    avg_logprob: float
    """Mean log-probability of the tokens, the end included."""
    no_speech_prob: float
    """Probability of the no-speech token where the transcript starts."""
    compression_ratio: float
    """Size of the text over its zlib-compressed size."""
