"""One call of the command line with damaged recordings among good ones, and all that is wrong with how it went."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.hub.known import EMBEDDED

# Greedy without fallback, since the question is whether it ends well, not what it hears.
_QUICK = ("--temperature", "0", "--beam-size", "None", "--temperature-increment-on-fallback", "None")
_ERROR, _WARNING = "stagewhisper: error: ", "stagewhisper: warning: "


@dataclass(frozen=True)
class Call:
    """What one call was given, and how it ended."""

    recordings: tuple[Path, ...]
    folder: Path
    """Where the transcripts are."""
    code: int | None
    """The exit code; None when it had to be stopped, negative when a signal ended it."""
    messages: tuple[str, ...]
    """The lines on standard error."""


def transcribe(recordings: Sequence[Path], folder: Path, *, cache_dir: Path, time_limit: float) -> Call:
    """The call `stagewhisper transcribe RECORDINGS -f json`, ended after `time_limit` seconds."""
    command = [sys.executable, "-m", "stagewhisper", "transcribe", *map(str, recordings), "--model", EMBEDDED]
    command += ["--offline", "-o", str(folder), "-f", "json", "--model-dir", str(cache_dir), *_QUICK]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return Call(tuple(recordings), folder, None, ())
    return Call(tuple(recordings), folder, ended.returncode, tuple(ended.stderr.splitlines()))


def transcript_path(call: Call, recording: Path) -> Path:
    """Where the transcript of `recording` has to be if it was done."""
    return call.folder / f"{recording.stem}.json"


def outcome(call: Call, recording: Path) -> str:
    """ "refused", "done", or "done, warned"."""
    if not transcript_path(call, recording).exists():
        return "refused"
    return "done, warned" if _lines_about(call, recording, _WARNING) else "done"


def faults(call: Call, *, expected: Mapping[Path, bytes]) -> list[str]:
    """Everything that should not be; `expected` has the transcripts of the good recordings, as run alone."""
    if call.code is None:
        return [f"it did not end in time: {', '.join(path.name for path in call.recordings)}"]
    n_refused = sum(outcome(call, recording) == "refused" for recording in call.recordings)
    found = [] if call.code == (2 if n_refused else 0) else [f"exit code {call.code} with {n_refused} refused"]
    found += [f"a line that names no recording: {line}" for line in call.messages if not _names_one(call, line)]
    found += [f"left behind: {name}" for name in _strays(call)]
    for recording in call.recordings:
        found += [f"{recording.name}: {fault}" for fault in _faults_of(call, recording)]
    for recording, transcript in expected.items():
        path = transcript_path(call, recording)
        if not path.exists() or path.read_bytes() != transcript:
            found.append(f"{recording.name}: not as when it was run alone")
    return found


def _faults_of(call: Call, recording: Path) -> list[str]:
    n_errors = len(_lines_about(call, recording, _ERROR))
    if outcome(call, recording) == "refused":
        return [] if n_errors == 1 else [f"refused with {n_errors} errors instead of 1"]
    try:
        transcript = json.loads(transcript_path(call, recording).read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"its transcript is no JSON: {error}"]
    whole = {"text", "segments", "language"} <= transcript.keys()
    return [*([] if whole else ["its transcript lacks parts"]), *(["done, and an error"] if n_errors else [])]


def _lines_about(call: Call, recording: Path, start: str) -> list[str]:
    return [line for line in call.messages if line.startswith(start) and recording.name in line]


def _names_one(call: Call, line: str) -> bool:
    return line.startswith((_ERROR, _WARNING)) and any(path.name in line for path in call.recordings)


def _strays(call: Call) -> set[str]:
    """Names in the folder of transcripts that are no transcripts, such as half-written files."""
    return {path.name for path in call.folder.iterdir()} - {f"{path.stem}.json" for path in call.recordings}
