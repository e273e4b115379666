"""200 damaged recordings through the command line, with good ones between them.

Why: people pass what they have: half-downloaded files, web pages called .mp3, disks with bad sectors. One such file
must cost neither the program nor the good files of the same call.
How: seven real recordings (WAV, FLAC, MP3, M4A, Opus in Ogg) are damaged in 22 ways with a fixed seed (cut, bits
flipped, zeroed, misnamed, sizes in headers made huge, text, playlists, images …). The real program runs in a process
of its own on batches of 20 damaged files with all the good ones between them. It must end in time with exit code 2 if
it refused any file, else 0; every file must have either a whole JSON transcript or exactly one line on standard error
that names it; no line may be anything else, such as a traceback; and each good file's transcript must be,
byte for byte, what it is when the file is run alone.

    python benchmarks/damaged_inputs.py [--audio FOLDER] [--count N] [--seed N]
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from report import store

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.damaged_audio import KINDS, damaged_inputs
from tests.damaged_calls import Call, faults, outcome, transcribe, transcript_path

GOOD = (
    "fsdd/0_george_27.wav",
    "fsdd/9_jackson_24.wav",
    "an4/mmkw/an364-mmkw-b.flac",
    "an4/fash/an253-fash-b.opus",
    "misc/common_voice_en_22058267.mp3",
    "multilingual/uberi-zh.flac",
    "speeches/jfk_441khz.m4a",
)
BATCH = 20
TIME_LIMIT = 180.0  # seconds per call; typically 10, more where other programs run
OUTCOMES = ("refused", "done, warned", "done")


def linked(originals: list[Path], folder: Path) -> list[Path]:
    """The good recordings under names that differ from all others in a call."""
    links = [folder / f"good-{original.name}" for original in originals]
    for link, original in zip(links, originals, strict=True):
        link.symlink_to(original.resolve())
    return links


def mixed(good: list[Path], damaged: list[Path]) -> list[Path]:
    """A good recording before every third damaged one, as long as there are any."""
    recordings = list(damaged)
    for i, path in enumerate(good):
        recordings.insert(4 * i, path)
    return recordings


def run_batches(good: list[Path], damaged: list[Path], folder: Path) -> tuple[list[Call], list[str]]:
    """Every call that was made, and everything that was wrong."""
    cache = folder / "cache"
    alone = [transcribe([path], folder / "alone", cache_dir=cache, time_limit=TIME_LIMIT) for path in good]
    found = [f"{call.recordings[0].name} alone: {call.code} {call.messages}" for call in alone if call.code != 0]
    expected = {path: transcript_path(call, path).read_bytes() for path, call in zip(good, alone, strict=True)}
    calls = []
    for start in range(0, len(damaged), BATCH):
        out = folder / f"out-{start}"
        calls.append(
            transcribe(mixed(good, damaged[start : start + BATCH]), out, cache_dir=cache, time_limit=TIME_LIMIT)
        )
        found += faults(calls[-1], expected=expected)
    return calls, found


def tally(calls: list[Call], good: list[Path]) -> dict[str, Counter[str]]:
    """Outcomes of each kind of damage, and of the good recordings."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*KINDS, "good")}
    for call in calls:
        for recording in call.recordings:
            kind = "good" if recording in good else recording.stem.split("-", 1)[1]
            counts[kind][outcome(call, recording)] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=os.environ.get("STAGEWHISPER_TEST_AUDIO", "../shared/audio"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    originals = [Path(arguments.audio) / name for name in GOOD]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = linked(originals, folder)
        damaged = damaged_inputs(originals, folder, arguments.count, seed=arguments.seed)
        calls, found = run_batches(good, damaged, folder)
        counts = tally(calls, good)
    print(f"{'kind':<16}" + "".join(f"{each:>14}" for each in OUTCOMES))
    for kind, row in counts.items():
        print(f"{kind:<16}" + "".join(f"{row[each]:>14}" for each in OUTCOMES))
    for fault in found:
        print(f"FAULT {fault}")
    figures: dict[str, Any] = {
        "damaged": len(damaged),
        "good_per_call": len(good),
        "calls": len(calls),
        "exit_codes": sorted({str(call.code) for call in calls}),
        "outcomes": {kind: dict(row) for kind, row in counts.items()},
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "seconds": round(time.perf_counter() - started),
        "faults": found,
    }
    store("damaged_inputs", figures)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
