"""The table of all clips: the rows as data, which `page.js` sorts, filters and shows fifty at a time.

Ten thousand clips as table rows would be a hundred thousand elements for the browser to lay out; as data they are a few
megabytes that it reads at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewhisper.evaluation.page_markup import Html, data_block, joined, tag

DATA_ID = "clips-data"

_COLUMNS = (
    ("audio", "Clip", False),
    ("language", "Language", False),
    ("wer", "WER", True),
    ("errors", "Errors", True),
    ("words", "Words", True),
    ("duration", "Seconds", True),
    ("rtf", "RTF", True),
    ("diff", "Text", False),
)
"""Key, title, whether it is a number. `page.js` knows the keys."""

_OPS = {"equal": "=", "substitute": "~", "delete": "-", "insert": "+"}


def all_clips(clips: Sequence[Mapping[str, Any]]) -> Html:
    """A closed element that opens to the table and its controls."""
    summary = tag("summary", f"Table of {len(clips):,} clip{'' if len(clips) == 1 else 's'}")
    # The script puts the controls in the place of this line.
    no_script = tag(
        "p", "This table needs JavaScript; the JSON document of the evaluation holds the same.", class_="note"
    )
    table = tag("table", tag("thead", tag("tr", *(_head(*column) for column in _COLUMNS))), tag("tbody"))
    scroll = tag("div", table, class_="scroll", hidden=True, tabindex="0", role="region", aria_label="All clips")
    opened = tag("details", summary, tag("div", no_script, id="clips-controls"), scroll, id="clips")
    return joined((opened, data_block(DATA_ID, [_row(clip) for clip in clips])))


def _head(key: str, title: str, is_number: bool) -> Html:
    button = tag("button", title, type="button")
    return tag("th", button, scope="col", data_key=key, data_number=is_number, aria_sort="none")


def _row(clip: Mapping[str, Any]) -> dict[str, Any]:
    words = clip["words"]
    return {
        "audio": clip["audio"],
        "dataset": clip["dataset"],
        "subset": clip["subset"],
        "language": clip["language"],
        "task": clip["task"],
        "speaker": clip["speaker"],
        "wer": words["rate"],
        "errors": words["substitutions"] + words["deletions"] + words["insertions"],
        "words": words["n_reference"],
        "duration": clip["duration"],
        "rtf": clip["rtf"],
        "diff": [_piece(piece) for piece in clip["diff"]],
    }


def _piece(piece: Mapping[str, Any]) -> list[str]:
    reference, hypothesis = " ".join(piece["reference"]), " ".join(piece["hypothesis"])
    return ["=", reference] if piece["op"] == "equal" else [_OPS[piece["op"]], reference, hypothesis]
