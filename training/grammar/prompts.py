"""Prompts that ask for a style: text after a plain prompt is plain too."""

_PUNCTUATION = str.maketrans("", "", ".,?!¿¡")


def plain(text: str) -> str:
    """`text` in lower case and without punctuation; apostrophes and hyphens belong to words and stay."""
    return text.translate(_PUNCTUATION).lower()
