"""Are our engines equal? The same recordings through all of them, and the same logits.

Why: whoever moves from a laptop to a GPU must get the same transcripts.
How: the recordings of `transcripts.py` without the long ones, some 310, through nano in float32 on every engine,
greedily and with 5 beams, language detected, timestamps written. A recording agrees when its text, its language and
each segment's tokens, start and end equal those of the engine `reference`, which is plain NumPy. For those that do not,
the first segment that differs is kept with its mean log-probability on both sides: a tie shows as nearly equal ones.
Logits are those of the first window of every tenth recording, teacher-forced over its own tokens; `logits.py` does it
on random weights of true shapes.

    python benchmarks/engines.py [--engines onnxruntime pytorch jax] [--audio FOLDER] [--ways greedy beam] [--limit N]
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import store
from transcripts import LONG, WAYS, choose, essence, first_difference

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.engines.base import AnyEngine
from stagewhisper.mel import N_SAMPLES, log_mel

REFERENCE = "reference"
ENGINES = ("onnxruntime", "pytorch", "jax")
AUDIO = "../shared/audio"
EVERY = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--audio", type=Path, default=Path(os.environ.get("STAGEWHISPER_TEST_AUDIO", AUDIO)))
    parser.add_argument("--ways", nargs="+", choices=["greedy", "beam"], default=["greedy", "beam"])
    parser.add_argument("--limit", type=int, help="only the first recordings; stores nothing")
    arguments = parser.parse_args()
    paths = [path for path in choose(arguments.audio) if path.parent.name not in LONG][: arguments.limit]
    names = [REFERENCE, *arguments.engines]
    models = {name: stagewhisper.load(arguments.model, engine=name) for name in names}
    found: dict[str, Any] = {"recordings": len(paths)}
    for way in arguments.ways:
        results = {name: all_results(model, paths, way) for name, model in models.items()}
        found[way] = {name: compared(results[name], results[REFERENCE], paths) for name in arguments.engines}
        show(way, found[way])
    found["logits"] = logits(models, paths[::EVERY])
    print(f"largest difference of logits on {len(paths[::EVERY])} windows: {found['logits']}")
    if arguments.limit is None:
        store("engines", found)


def all_results(model: stagewhisper.Model, paths: Sequence[Path], way: str) -> tuple[list[dict[str, Any]], float]:
    """What must be equal for every recording, scores beside it, and the seconds it took."""
    started = time.perf_counter()
    results = [model.transcribe(load_audio(path), **WAYS[way]).to_dict() for path in paths]
    return results, time.perf_counter() - started


def compared(
    found: tuple[list[dict[str, Any]], float], expected: tuple[list[dict[str, Any]], float], paths: Sequence[Path]
) -> dict[str, Any]:
    pairs = zip(paths, found[0], expected[0], strict=True)
    differences = [
        {"recording": path.name, **first_difference(ours, theirs)}
        for path, ours, theirs in pairs
        if essence(ours) != essence(theirs)
    ]
    return {
        "agreed": len(paths) - len(differences),
        "differences": differences,
        "tokens": sum(len(segment["tokens"]) for result in found[0] for segment in result["segments"]),
        "seconds": found[1],
    }


def logits(models: Mapping[str, stagewhisper.Model], paths: Sequence[Path]) -> dict[str, float]:
    """The largest difference of each engine's logits to the reference's."""
    worst = dict.fromkeys([name for name in models if name != REFERENCE], 0.0)
    for path in paths:
        reference = models[REFERENCE]
        tokens = tokens_of(reference, path)
        if not tokens:
            continue
        expected = logits_of(reference.engine, path, tokens)
        for name in worst:
            difference = np.abs(logits_of(models[name].engine, path, tokens) - expected)
            worst[name] = max(worst[name], float(difference.max()))
    return worst


def tokens_of(model: stagewhisper.Model, path: Path) -> list[int]:
    """The opening and the tokens of the first window."""
    result = model.transcribe(load_audio(path)[:N_SAMPLES], temperature=0.0).to_dict()
    text = [token for segment in result["segments"] for token in segment["tokens"]]
    return [*model.tokenizer.sot_sequence(result["language"], "transcribe", timestamps=True), *text] if text else []


def logits_of(engine: AnyEngine, path: Path, tokens: Sequence[int]) -> np.ndarray:
    """[n_tokens, n_vocab]: a prompt of three tokens, then one after the other."""
    samples = load_audio(path)[:N_SAMPLES]
    padded = np.pad(samples, (0, N_SAMPLES - len(samples)))
    cache = engine.start(engine.encode(log_mel(padded, n_mels=engine.dims.n_mels)[None]))
    found, row = [], np.asarray(tokens, np.int64)[None]
    for first, last in ((0, 3), *((place, place + 1) for place in range(3, len(tokens)))):
        output = engine.decode_step(row[:, first:last], cache, logit_positions=range(first - last, 0))
        cache = output.cache
        found.append(np.asarray(output.logits)[0])
    return np.concatenate(found)


def show(way: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    for name, row in rows.items():
        print(f"{way}: {name} agrees on {row['agreed']}, {len(row['differences'])} differ; {row['seconds']:.0f} s")
        for one in row["differences"][:5]:
            print(f"    {one}")


if __name__ == "__main__":
    main()
