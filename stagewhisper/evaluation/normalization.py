"""Texts as they are compared: without case, punctuation and other differences that nobody hears.

Source: Radford et al. 2022, appendix C; openai/whisper, `whisper/normalizers`.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from stagewhisper.errors import OptionError
from stagewhisper.evaluation.packages import needed

Normalize: TypeAlias = Callable[[str], str]

NORMALIZERS = ("auto", "english", "basic", "none")
"""English or basic by the text's language, one of them for all texts, or texts as they are."""

_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces: there each letter counts as a word. Source: Radford et al. 2022, section 4.4
(the first five); argmaxinc/whisperkittools (Cantonese)."""

_NOT_OPENAIS = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")
"""What whisper-normalizer replaces and openai/whisper does not; by the last, "the cause" becomes "the because"."""


def normalizer_for(name: str, *, language: str | None) -> Normalize:
    """The function that makes a text of that language comparable.

    "auto" is English for "en" and where the language is not known, as WhisperKit has it, and basic for all others.

    Raises:
        OptionError: no normaliser has that name.
        StagewhisperError: the package that normalises is not installed.
    """
    if name not in NORMALIZERS:
        raise OptionError(f"No normaliser named {name!r}. Known: {', '.join(NORMALIZERS)}.")
    if name == "none":
        return _with_single_spaces
    if name == "english" or (name == "auto" and language in (None, "en")):
        return _english()
    return _basic(split_letters=language in _WITHOUT_SPACES)


def text_language(language: str | None, *, task: str) -> str | None:
    """The language that a clip's text is in: a translation is English whatever is spoken."""
    return "en" if task == "translate" else language


def _with_single_spaces(text: str) -> str:
    # Words are what any white space separates; jiwer would cut at spaces alone.
    return " ".join(text.split())


@cache
def _english() -> Normalize:
    normalize = needed("whisper_normalizer.english").EnglishTextNormalizer()
    for pattern in _NOT_OPENAIS:
        normalize.replacers.pop(pattern, None)
    return lambda text: str(normalize(text)).strip()


@cache
def _basic(*, split_letters: bool) -> Normalize:
    normalize = needed("whisper_normalizer.basic").BasicTextNormalizer(split_letters=split_letters)
    return lambda text: str(normalize(text)).strip()
