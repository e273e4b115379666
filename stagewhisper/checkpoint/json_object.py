"""Read JSON that a stranger may have written."""

import json
from pathlib import Path

from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.errors import CheckpointError

_LARGEST_FILE_BYTES = 10_000_000


def read_json_object(path: Path) -> dict[str, object]:
    """The object that the file holds.

    Raises:
        CheckpointError: the file cannot be read, is huge, is no JSON, no object, or repeats a key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(text) > _LARGEST_FILE_BYTES:
        raise CheckpointError(
            f"{path} is larger than {_LARGEST_FILE_BYTES} bytes; expected a short JSON object. Fetch it again."
        )
    return parse_json_object(path, text)


def parse_json_object(path: Path, text: bytes) -> dict[str, object]:
    """The object that `text`, a part of the file `path`, holds.

    Raises:
        CheckpointError: it is no JSON, no object, or repeats a key.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
    except ValueError as error:  # bad JSON, bad UTF-8, and numbers of thousands of digits
        raise CheckpointError(f"{path} holds broken JSON: {error}. Fetch it again.") from error
    except RecursionError as error:
        raise CheckpointError(f"{path} holds JSON that is nested too deep for a checkpoint.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds the JSON {quoted(value)}; expected an object.")
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {quoted(key)} appears twice")
        result[key] = value
    return result
