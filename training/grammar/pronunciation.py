"""What eSpeak NG must be given so that it says every letter by its name, and words as they are meant.

It reads a lone A in English as the article, Y in Spanish and French as "and" and "there", the verb "close" as in
"close by", and a few German words with a wrong stress.
"""

import re

_SAID = {
    "en": {"A": "ª", "Close": "Cloze"},
    "es": {"R": "erre", "Y": "igriega"},
    "de": {"Hotel": "Hotell", "sechste": "sexte", "sechsten": "sexten"},
    "fr": {"Y": "igrec"},
}
_WORD = re.compile(r"[\w'-]+")


def spoken(text: str, language: str) -> tuple[str, tuple[int, ...]]:
    """What eSpeak NG should be given for `text`, and for each of its characters the place in `text` that it stands for.

    Words stay words, one for one. For flite and festival use `text` itself; they know the letters' names.
    """
    said, end = "", 0
    places: list[int] = []
    for word in _WORD.finditer(text):
        instead = _SAID[language].get(word[0])
        if instead is not None:
            said += text[end : word.start()] + instead
            places += [*range(end, word.start()), *[word.start()] * len(instead)]
            end = word.end()
    return said + text[end:], (*places, *range(end, len(text)))
