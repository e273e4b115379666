"""Our transcripts against openai-whisper's on real recordings: text, token ids, timestamps and language.

Why: equal logits are not enough; prompts, filters, searches, thresholds and the seek loop must be equal too.
How: some 320 recordings (spoken digits, spelled words, speeches, long readings, nine languages) are decoded by the
reader once, and the same samples given to both sides on the same weights. Three ways of decoding:

    greedy      temperature 0, no fallback
    beam        beam search with 5 beams, no fallback
    fallback    openai/whisper's command-line defaults: 5 beams, then temperatures 0.2 … 1.0 with the best of 5 draws,
                on every fifth recording and all long ones. openai/whisper draws from torch's generator; here its
                draw is replaced by ours with the same seed, so that everything around the draws is compared.

All with timestamps, conditioning on previous text and detection of the language. A recording agrees when its text,
its language and each segment's tokens, start and end are equal. For those that do not, both sides' scores are shown;
`ties.py` finds the step at which they part.

    python benchmarks/transcripts.py [--model MODEL] [--audio FOLDER] [--ways greedy beam fallback] [--limit N]
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
import whisper.decoding
from peer_checkpoints import write_openai
from report import store

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.hub import find_model
from stagewhisper.hub.known import EMBEDDED

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.transcripts import SeededDraw

SEED = 0
ORACLE = f"openai-whisper {whisper.__version__}"
COUNTS = {
    "fsdd": 100, "an4": 100, "librispeech": 30, "kathleen": 20, "kerstin": 15, "nathalie": 15, "ljspeech": 8,
    "multilingual": 10, "misc": 10, "librivox": 3, "speeches": 4, "longform": 3,
}  # fmt: skip
LONG = ("speeches", "longform")
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "beam": {"temperature": 0.0, "beam_size": 5},
    "fallback": {"temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "beam_size": 5, "best_of": 5},
}
REQUIRED = {"greedy": 1.0, "beam": 0.99, "fallback": 0.99}


def load_oracle(path: Path) -> whisper.Whisper:
    """openai/whisper's model with the weights of any checkpoint, its draws replaced by seeded ones."""
    with tempfile.TemporaryDirectory() as folder:
        pt_path = Path(folder) / "model.pt"
        write_openai(load_checkpoint(path), pt_path)
        model = whisper.load_model(str(pt_path), device="cpu")
    decode = model.decode

    def seeded(mel: torch.Tensor, options: whisper.DecodingOptions) -> Any:
        SeededDraw.rng = np.random.default_rng([SEED, round(options.temperature * 1e6)])
        return decode(mel, options)

    model.decode = seeded
    whisper.decoding.Categorical = SeededDraw
    return model


def choose(folder: Path) -> list[Path]:
    """Recordings of every folder, evenly spread over the manifest."""
    names: dict[str, list[str]] = {}
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        name = json.loads(line)["audio"]
        names.setdefault(name.split("/")[0], []).append(name)
    chosen = []
    for group, count in COUNTS.items():
        places = np.linspace(0, len(names[group]) - 1, min(count, len(names[group]))).round().astype(int)
        chosen += [folder / names[group][place] for place in places]
    return chosen


def essence(result: dict[str, Any]) -> dict[str, Any]:
    """What must be equal."""
    segments = [
        {key: segment[key] for key in ("tokens", "start", "end", "text", "seek")} for segment in result["segments"]
    ]
    return {"text": result["text"], "language": result["language"], "segments": segments}


def first_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The first segments that differ, with the scores of both: a tie shows as equal scores."""
    for mine, other in zip(ours["segments"], theirs["segments"], strict=False):
        if mine["tokens"] != other["tokens"] or mine["start"] != other["start"]:
            return {
                side: {
                    key: segment[key] for key in ("seek", "tokens", "avg_logprob", "temperature", "compression_ratio")
                }
                for side, segment in (("ours", mine), ("theirs", other))
            }
    return {
        "segments": [len(ours["segments"]), len(theirs["segments"])],
        "languages": [ours["language"], theirs["language"]],
    }


def compare(model: stagewhisper.Model, oracle: whisper.Whisper, paths: list[Path], way: str) -> dict[str, Any]:
    """Counts of one way of decoding."""
    options = WAYS[way]
    agreed, differences, windows, seconds = 0, [], set(), {"ours": 0.0, "theirs": 0.0}
    languages_agreed = 0
    for path in paths:
        samples = load_audio(path)
        started = time.perf_counter()
        ours = model.transcribe(samples, seed=SEED, **options).to_dict()
        halfway = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = whisper.transcribe(oracle, samples, fp16=False, **options)
        seconds["ours"] += halfway - started
        seconds["theirs"] += time.perf_counter() - halfway
        windows |= {(path, segment["seek"], segment["temperature"]) for segment in ours["segments"]}
        languages_agreed += ours["language"] == theirs["language"]
        if essence(ours) == essence(theirs):
            agreed += 1
        else:
            differences.append({"recording": path.name, **first_difference(ours, theirs)})
            print(f"  {way}: {path.name} differs: {json.dumps(differences[-1])}", flush=True)
    return {
        "recordings": len(paths),
        "agreed": agreed,
        "languages_agreed": languages_agreed,
        "windows_with_text": len(windows),
        "windows_at_higher_temperature": sum(temperature > 0 for _, _, temperature in windows),
        "differences": differences,
        "seconds": {side: round(total, 1) for side, total in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--audio", type=Path, default=os.environ.get("STAGEWHISPER_TEST_AUDIO", "../shared/audio"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit", type=int, help="only so many recordings")
    arguments = parser.parse_args()
    path = find_model(arguments.model)
    torch.set_num_threads(1)
    model, oracle = stagewhisper.load(arguments.model, threads=1), load_oracle(path)
    recordings = choose(Path(arguments.audio))[: arguments.limit]
    enough = True
    print(f"{'way':<10} {'recordings':>10} {'agreed':>8} {'share':>8}  languages  windows (fallen back)")
    for way in arguments.ways:
        row = compare(model, oracle, [path for i, path in enumerate(recordings) if takes_part(i, path, way)], way)
        share = row["agreed"] / row["recordings"]
        enough &= share >= REQUIRED[way]
        print(
            f"{way:<10} {row['recordings']:>10} {row['agreed']:>8} {share:>8.2%}  {row['languages_agreed']:>9}  "
            f"{row['windows_with_text']} ({row['windows_at_higher_temperature']})",
            flush=True,
        )
        if arguments.limit is None:
            store(f"transcripts_{way}", {"oracle": ORACLE, "model": arguments.model, **row})
    raise SystemExit(0 if enough else 1)


def takes_part(place: int, path: Path, way: str) -> bool:
    """Fallback multiplies the work by six and is tried on a part."""
    return way != "fallback" or place % 5 == 0 or path.parent.name in LONG


if __name__ == "__main__":
    main()
