"""What a voice must be given so that it says every letter by its name.

eSpeak NG reads a lone A in English as the article, and Y in Spanish and French as "and" and "there".
"""

import re

_LETTERS = {
    "en": {"A": "ª"},
    "es": {"R": "erre", "Y": "igriega"},
    "de": {},
    "fr": {"Y": "igrec"},
}
_ALONE = re.compile(r"(?<![\w'-])[A-Z](?![\w'-])")


def spoken(text: str, language: str) -> tuple[str, tuple[int, ...]]:
    """What eSpeak NG should be given for `text`, and for each of its characters the place in `text` that it stands for.

    Words stay words, one for one. For flite and festival use `text` itself; they know the letters' names.
    """
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        alone = _ALONE.match(text, place) is not None
        said = _LETTERS[language].get(character, character) if alone else character
        characters.append(said)
        places += [place] * len(said)
    return "".join(characters), tuple(places)
