"""The word-level diff of one clip: what is missing struck out, what is added underlined, both also in colour."""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewhisper.evaluation.page_markup import Html, joined, tag

_LONGEST_EQUAL = 40
"""Words that agree; a longer run is shortened, since an hour's recording may have ten thousand of them."""
_CONTEXT = 12
"""Words that stay at either end of a shortened run."""
_SEEN_WHOLE = 60
"""Words of both texts that certainly need no scrolling, on a phone either."""


def diff(pieces: Sequence[Mapping[str, Any]], *, language: str | None = None) -> Html:
    """A paragraph with the words of both texts, in reading order."""
    if not pieces:
        return tag("p", "No words on either side.", class_="note")
    # A text that has to be scrolled must be within the keyboard's reach; one that is seen whole need not be a stop.
    n_words = sum(len(piece["reference"]) + len(piece["hypothesis"]) for piece in pieces)
    reach = "0" if n_words > _SEEN_WHOLE else None
    # Words are read in the clip's language and direction, however the page around them is written.
    return tag("p", *(_piece(piece) for piece in pieces), class_="diff", dir="auto", lang=language, tabindex=reach)


def legend() -> Html:
    """One line that explains the marks."""
    return tag(
        "p",
        tag("del", "missed"),
        " is in the reference only, ",
        tag("ins", "added"),
        " in the transcript only; side by side, one was taken for the other. Both texts are normalised.",
        class_="note legend",
    )


def _piece(piece: Mapping[str, Any]) -> Html:
    if piece["op"] == "equal":
        return joined((_shortened(piece["reference"]), " "))
    missed, added = " ".join(piece["reference"]), " ".join(piece["hypothesis"])
    return joined((missed and tag("del", missed), " " if missed and added else "", added and tag("ins", added), " "))


def _shortened(words: Sequence[str]) -> Html:
    if len(words) <= _LONGEST_EQUAL:
        return joined([" ".join(words)])
    left_out = len(words) - 2 * _CONTEXT
    gap = tag("span", f"… {left_out:,} words alike …", class_="gap")
    return joined((" ".join(words[:_CONTEXT]), " ", gap, " ", " ".join(words[-_CONTEXT:])))
