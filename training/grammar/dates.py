"""Dates and times of day as they are said in English, Spanish, German and French."""

import random

from training.grammar.lexicon import month
from training.grammar.meanings import Date, Time
from training.grammar.number_words import cardinal, ordinal, year


def date(meaning: Date, language: str, rng: random.Random | None = None) -> str:
    """The date in words, without capital and full stop."""
    name = month(meaning.month, language)
    spoken_year = "" if meaning.year is None else _year(meaning.year, language, rng)
    return _join(_day_and_month(meaning.day, name, language, rng), spoken_year, language)


def time(meaning: Time, language: str, rng: random.Random | None = None) -> str:
    """The time in words, as it stands after "at", "um" or "à"; in Spanish with its article."""
    if meaning.is_colloquial:
        return _COLLOQUIAL[language](meaning.hour, meaning.minute, rng)
    return _CLOCK[language](meaning.hour, meaning.minute)


def _year(value: int, language: str, rng: random.Random | None) -> str:
    if language == "en" and rng is not None and 1910 <= value < 2000 and rng.random() < 0.1:
        return cardinal(value % 100, "en")
    return year(value, language, rng)


def _join(day_and_month: str, spoken_year: str, language: str) -> str:
    if not spoken_year:
        return day_and_month
    return day_and_month + {"en": ", ", "es": " de ", "de": " ", "fr": " "}[language] + spoken_year


def _day_and_month(day: int, name: str, language: str, rng: random.Random | None) -> str:
    other = rng is not None and rng.random() < 0.3
    if language == "en":
        return f"the {ordinal(day, 'en')} of {name}" if other else f"{name} {ordinal(day, 'en')}"
    if language == "de":
        return f"der {ordinal(day, 'de')} {name}" if other else f"am {ordinal(day, 'de')}n {name}"
    if language == "es":
        return ("" if other else "el ") + ("primero" if day == 1 else cardinal(day, "es")) + f" de {name}"
    return ("" if other else "le ") + ("premier" if day == 1 else cardinal(day, "fr")) + f" {name}"


def _english(hour: int, minute: int, rng: random.Random | None) -> str:
    if rng is not None and rng.random() < 0.3:
        return _english_clock(hour, minute) if minute else f"{cardinal(hour, 'en')} o'clock"
    if minute == 0:
        return f"{cardinal(hour, 'en')} o'clock"
    parts = {15: "quarter", 30: "half"}
    if minute <= 30:
        return f"{parts.get(minute) or cardinal(minute, 'en')} past {cardinal(hour, 'en')}"
    return f"{parts.get(60 - minute) or cardinal(60 - minute, 'en')} to {cardinal(hour % 12 + 1, 'en')}"


def _spanish(hour: int, minute: int, rng: random.Random | None) -> str:
    if minute == 0:
        return _spanish_hour(hour) + (" en punto" if rng is not None and rng.random() < 0.2 else "")
    parts = {15: "cuarto", 30: "media"}
    if minute <= 30:
        return f"{_spanish_hour(hour)} y {parts.get(minute) or cardinal(minute, 'es')}"
    return f"{_spanish_hour(hour % 12 + 1)} menos {parts.get(60 - minute) or cardinal(60 - minute, 'es')}"


def _german(hour: int, minute: int, rng: random.Random | None) -> str:
    if minute == 0 or (rng is not None and rng.random() < 0.3):
        return _german_clock(hour, minute)
    this, following = cardinal(hour, "de"), cardinal(hour % 12 + 1, "de")
    return {
        5: f"fünf nach {this}",
        10: f"zehn nach {this}",
        15: f"Viertel nach {this}",
        20: f"zwanzig nach {this}",
        25: f"fünf vor halb {following}",
        30: f"halb {following}",
        35: f"fünf nach halb {following}",
        40: f"zwanzig vor {following}",
        45: f"Viertel vor {following}",
        50: f"zehn vor {following}",
        55: f"fünf vor {following}",
    }[minute]


def _french(hour: int, minute: int, rng: random.Random | None) -> str:
    if minute == 0:
        return _french_hour(hour)
    if rng is not None and rng.random() < 0.2:
        return _french_clock(hour, minute)
    if minute == 30:
        return f"{_french_hour(hour)} et {'demi' if hour == 12 else 'demie'}"
    if minute <= 30:
        return f"{_french_hour(hour)} {'et quart' if minute == 15 else cardinal(minute, 'fr')}"
    return f"{_french_hour(hour % 12 + 1)} moins {'le quart' if minute == 45 else cardinal(60 - minute, 'fr')}"


def _english_clock(hour: int, minute: int) -> str:
    if minute == 0:
        return f"{cardinal(hour, 'en')} hundred hours"
    return f"{cardinal(hour, 'en')} {'oh ' if minute < 10 else ''}{cardinal(minute, 'en')}"


def _spanish_clock(hour: int, minute: int) -> str:
    return f"{_spanish_hour(hour)} horas" if minute == 0 else f"{_spanish_hour(hour)} y {cardinal(minute, 'es')}"


def _german_clock(hour: int, minute: int) -> str:
    return f"{'ein' if hour == 1 else cardinal(hour, 'de')} Uhr" + (f" {cardinal(minute, 'de')}" if minute else "")


def _french_clock(hour: int, minute: int) -> str:
    hours = f"{_feminine(cardinal(hour, 'fr'))} heure{'s' if hour > 1 else ''}"
    return hours + (f" {_feminine(cardinal(minute, 'fr'))}" if minute else "")


def _spanish_hour(hour: int) -> str:
    words = cardinal(hour, "es")
    words = words.removesuffix("o") + "a" if words.endswith("uno") else words
    return f"{'la' if hour == 1 else 'las'} {words}"


def _french_hour(hour: int) -> str:
    return "midi" if hour == 12 else _french_clock(hour, 0)


def _feminine(words: str) -> str:
    return words + "e" if words == "un" or words.endswith(" un") else words


_COLLOQUIAL = {"en": _english, "es": _spanish, "de": _german, "fr": _french}
_CLOCK = {"en": _english_clock, "es": _spanish_clock, "de": _german_clock, "fr": _french_clock}
