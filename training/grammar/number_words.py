"""Numbers as words in English, Spanish, German and French.

Cardinals come from num2words; ordinals are written here, because its Spanish ones are not spelled as they should be.
"""

import random
from functools import cache

from num2words import num2words  # type: ignore[import-untyped]

FIRST_YEAR, LAST_YEAR = 1100, 2099

_ORDINALS = {
    "en": "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth",
    "es": "primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo undécimo duodécimo decimotercero "
    "decimocuarto decimoquinto decimosexto decimoséptimo decimoctavo decimonoveno vigésimo",
    "de": "erste zweite dritte vierte fünfte sechste siebte achte neunte zehnte elfte zwölfte dreizehnte vierzehnte "
    "fünfzehnte sechzehnte siebzehnte achtzehnte neunzehnte zwanzigste",
    "fr": "premier deuxième troisième quatrième cinquième sixième septième huitième neuvième dixième onzième douzième "
    "treizième quatorzième quinzième seizième dix-septième dix-huitième dix-neuvième vingtième",
}


def cardinal(value: int, language: str, rng: random.Random | None = None) -> str:
    """`value` in words; with `rng` also British "and" and the German "hundert" without "ein"."""
    words = _cardinal(value, language)
    if rng is not None and language == "en" and value > 100 and value % 100 and rng.random() < 0.25:
        return f"{_cardinal(value - value % 100, 'en')} and {_cardinal(value % 100, 'en')}"
    if rng is not None and language == "de" and words.startswith(("einhundert", "eintausend")) and rng.random() < 0.4:
        return words.removeprefix("ein")
    return words


def digit(value: int, language: str, rng: random.Random | None = None, *, alone: bool = False) -> str:
    """One number of several read in a row; with `rng` also "oh" for zero and the German "zwo"."""
    if rng is not None and not alone and language == "en" and value == 0 and rng.random() < 0.6:
        return "oh"
    if rng is not None and language == "de" and value == 2 and rng.random() < 0.15:
        return "zwo"
    return cardinal(value, language, rng)


def year(value: int, language: str, rng: random.Random | None = None) -> str:
    """The year `value` from 1100 to 2099 as it is read: "nineteen eighty seven", "dos mil quince"."""
    century, rest = divmod(value, 100)
    if language == "en" and century != 20:
        return f"{cardinal(century, 'en')} {_english_rest(rest)}"
    if language == "en" and rest >= 10:
        return f"twenty {cardinal(rest, 'en')}"
    if language == "de" and century < 20:
        return cardinal(century, "de") + "hundert" + (cardinal(rest, "de") if rest else "")
    if language == "fr" and century in (17, 18, 19) and rng is not None and rng.random() < 0.2:
        return f"{cardinal(century, 'fr')} cent" + (f" {cardinal(rest, 'fr')}" if rest else "s")
    return cardinal(value, language)


def ordinal(value: int, language: str) -> str:
    """The ordinal of `value` (1 to 20; English and German to 31), masculine, in German with the ending -e."""
    if value > 20 and language == "en":
        return "thirtieth" if value == 30 else f"{cardinal(value - value % 10, 'en')} {ordinal(value % 10, 'en')}"
    if value > 20 and language == "de":
        return cardinal(value, "de") + "ste"
    return _ORDINALS[language].split()[value - 1]


@cache
def _cardinal(value: int, language: str) -> str:
    words = str(num2words(value, lang=language))
    return words.replace(" and ", " ").replace("-", " ").replace(",", "") if language == "en" else words


def _english_rest(rest: int) -> str:
    if rest == 0:
        return "hundred"
    return f"oh {cardinal(rest, 'en')}" if rest < 10 else cardinal(rest, "en")
