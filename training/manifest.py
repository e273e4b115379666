"""What `manifest.jsonl` says of the recordings of real people: one JSON object a line, with `audio` and `text`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stagewhisper.errors import DataSetError


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The manifest's entries; each has an `audio`, the path beside the manifest, and a `text`.

    Raises:
        DataSetError: it cannot be read, or an entry lacks one of them.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataSetError(f"{path} cannot be read: {error}. Give a folder of recordings with a manifest.") from error
    return [_entry(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def of_source(entries: Iterable[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """The entries whose recordings lie in the folder `source`.

    Raises:
        DataSetError: of one of them the speaker is not told.
    """
    found = [entry for entry in entries if entry["audio"].split("/")[0] == source]
    nameless = next((entry["audio"] for entry in found if not isinstance(entry.get("speaker"), str)), None)
    if nameless is not None:
        raise DataSetError(
            f"manifest.jsonl does not tell the speaker of {nameless}. Give each recording of {source}/ a `speaker`: "
            "by that name people are kept out of training (training/splits.py)."
        )
    return found


def _entry(line: str, place: str) -> dict[str, Any]:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{place} is no JSON: {error}.") from error
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("audio", "text")):
        raise DataSetError(f'{place}: expected {{"audio": "FOLDER/FILE", "text": "…", …}}, got {line:.80}')
    return entry
