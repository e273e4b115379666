"""JSON: the whole result with every segment's tokens and scores."""

import json

from stagewhisper.transcript import Transcript
from stagewhisper.writers.catalogue import TextFile


def write_json(transcript: Transcript, file: TextFile) -> None:
    """Writes openai/whisper's result dictionary on one line, in ASCII, without a newline at its end."""
    json.dump(transcript.to_dict(), file)
