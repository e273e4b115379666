"""The same checkpoint through openai-whisper, transformers and faster-whisper: do they give our text?

Why: nano is shipped as a standard Whisper checkpoint; whatever runs Whisper should hear with it what we hear.
How: `peer_checkpoints.py` writes our weights for each peer, `peers.py` makes all decode in the same way. Every clip of
the data sets is read once by our reader, and its samples given to all, with the language and the task that the data set
names. The texts must be equal letter for letter, spaces at both ends apart. Where the model puts a special token like
`<|fr|>` into a text, openai/whisper writes it and so do we; the other two leave it out, and there it is taken out of
ours. Which language each detects by itself is compared next to it. Rows named "its own padding" show what a peer does
when it is left to fill windows up by itself.

    python benchmarks/nano_peers.py DATASET... [--model nano] [--limit N]
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from peer_checkpoints import PeerCheckpoints, write_peer_checkpoints
from peers import SAME_INPUT, Peer, by_design, our_language, our_text, peers
from report import store

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.evaluation import DataSet, load_datasets
from stagewhisper.hub import find_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="manifests or folders, as for `stagewhisper evaluate`")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--limit", type=int, help="only so many clips of each set; nothing is stored then")
    arguments = parser.parse_args()
    datasets = load_datasets(arguments.datasets, limit=arguments.limit)
    print(f"{'set':<20} {'peer':<32} {'clips':>5} {'same text':>9} {'same language':>13}")
    sets: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = write_peer_checkpoints(load_checkpoint(find_model(arguments.model)), Path(folder))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), context, _open_all, (arguments.model, checkpoints)) as pool:
            for dataset in datasets:
                rows = merged(pool.map(_compare_part, parts_of(dataset)))
                sets[dataset.name] = {"clips": len(dataset.items), "peers": rows}
                show(dataset.name, sets[dataset.name])
    if arguments.limit is None:
        store("nano_peers", {"model": Path(arguments.model).name, "same_input": list(SAME_INPUT), "sets": sets})
    equal = all(rows["peers"][name]["same_text"] == rows["clips"] for rows in sets.values() for name in SAME_INPUT)
    raise SystemExit(0 if equal else 1)


_SPECIAL_TOKEN = re.compile(r"<\|[^|]*\|>")
_OPENED: dict[str, Any] = {}
"""A worker's models."""


def _open_all(model: str, checkpoints: PeerCheckpoints) -> None:
    _OPENED["ours"] = stagewhisper.load(model, threads=1)
    _OPENED["others"] = peers(checkpoints) | by_design(checkpoints)


def _compare_part(part: DataSet) -> dict[str, Any]:
    return compare(_OPENED["ours"], _OPENED["others"], part)


def parts_of(dataset: DataSet, length: int = 25) -> Iterator[DataSet]:
    """The data set in pieces, for several processes."""
    for first in range(0, len(dataset.items), length):
        yield replace(dataset, items=dataset.items[first : first + length])


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The counts of all parts added up, and their differences in a row."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, row in part.items():
            known = total.setdefault(name, dict.fromkeys(row))
            for what, found in row.items():
                known[what] = found if known[what] is None else known[what] + found
    return total


def compare(model: stagewhisper.Model, others: dict[str, Peer], dataset: DataSet) -> dict[str, Any]:
    """For each peer, how many texts and languages are the same, and those that are not."""
    found: dict[str, Any] = {name: {"same_text": 0, "same_language": 0, "differences": []} for name in others}
    for name, peer in others.items():
        if peer.transcribe is None:
            found[name]["same_text"] = None
        if peer.detect_language is None:
            found[name]["same_language"] = None
    for item in dataset.items:
        samples = load_audio(item.source.read())
        detected = our_language(model, samples)
        language, task = item.language or detected, item.task or "transcribe"
        text = our_text(model, samples, language, task).strip()
        clip = Path(item.audio).name
        for name, peer in others.items():
            if peer.transcribe is not None:
                expected = text if peer.writes_special_tokens else _SPECIAL_TOKEN.sub("", text)
                _count(found[name], "text", clip, expected, peer.transcribe(samples, language, task).strip())
            if peer.detect_language is not None:
                _count(found[name], "language", clip, detected, peer.detect_language(samples))
    return found


def _count(row: dict[str, Any], what: str, clip: str, mine: str, theirs: str) -> None:
    if mine == theirs:
        row[f"same_{what}"] += 1
    else:
        row["differences"].append({"clip": clip, "of": what, "ours": mine, "theirs": theirs})


def show(name: str, rows: dict[str, Any]) -> None:
    for peer, row in rows["peers"].items():
        text, language = ("–" if row[key] is None else row[key] for key in ("same_text", "same_language"))
        print(f"{name:<20} {peer:<32} {rows['clips']:>5} {text:>9} {language:>13}")
        for difference in row["differences"]:
            print(f"    {difference['clip']} {difference['of']}")
            print(f"        ours   {difference['ours']}\n        theirs {difference['theirs']}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
