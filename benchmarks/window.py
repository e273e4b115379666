"""One window of audio and 100 tokens: ours against openai-whisper, same weights, same decoding, same threads.

Why: the time of a window is what a user waits for; loading and compiling are paid once.
How: random weights of the true tiny and base shapes in one `.pt` for both. A window is 30 s of noise → mel → encoder →
prompt → 100 greedy steps with all of openai/whisper's filters; the end of text is suppressed on both sides, so that
the work is fixed. One process, N threads for each side, five rounds in turn after a warm-up; medians and ratios.

    python benchmarks/window.py [--threads 1 2] [--shapes tiny base]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import whisper
from logits import SHAPES, random_whisper
from report import store

import stagewhisper
from stagewhisper.decoding import DecodingOptions, decode
from stagewhisper.mel import log_mel

N_TOKENS, N_ROUNDS = 100, 5
EOT = 50257


def our_window(model: stagewhisper.Model, samples: np.ndarray) -> Callable[[], dict[str, float]]:
    options = DecodingOptions(language="en", sample_len=N_TOKENS, suppress_tokens=f"-1,{EOT}")

    def run() -> dict[str, float]:
        started = time.perf_counter()
        features = model.engine.encode(log_mel(samples, n_mels=model.dims.n_mels)[None])
        encoded = time.perf_counter()
        (result,) = decode(model.engine, features, tokenizer=model.tokenizer, options=options)
        assert len(result.tokens) == N_TOKENS
        return {"mel and encoder": encoded - started, "decoding": time.perf_counter() - encoded}

    return run


def their_window(model: whisper.Whisper, samples: np.ndarray) -> Callable[[], dict[str, float]]:
    options = whisper.DecodingOptions(language="en", sample_len=N_TOKENS, suppress_tokens=f"-1,{EOT}", fp16=False)

    def run() -> dict[str, float]:
        started = time.perf_counter()
        with torch.no_grad():
            features = model.encoder(whisper.log_mel_spectrogram(samples)[None])
        encoded = time.perf_counter()
        (result,) = whisper.decode(model, features, options)
        assert len(result.tokens) == N_TOKENS
        return {"mel and encoder": encoded - started, "decoding": time.perf_counter() - encoded}

    return run


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    whole = [sum(parts.values()) for parts in rounds]
    found = {name: statistics.median(parts[name] for parts in rounds) for name in rounds[0]}
    return {**found, "window": statistics.median(whole), "window, slowest": max(whole)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", default=["tiny", "base"])
    arguments = parser.parse_args()
    samples = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    print(f"{'shape':<6} {'threads':>7} {'side':<8} {'mel+encoder':>12} {'100 tokens':>11} {'window':>8}  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for shape in arguments.shapes:
            oracle = random_whisper(SHAPES[shape], seed=0)
            path = Path(folder) / f"{shape}.pt"
            torch.save({"dims": vars(SHAPES[shape]), "model_state_dict": oracle.state_dict()}, path)
            figures[shape] = {}
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                model = stagewhisper.load(path, threads=threads, cache_dir=folder)
                sides = {"ours": our_window(model, samples), "openai": their_window(oracle, samples)}
                rounds: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
                for turn in range(N_ROUNDS + 1):
                    for side, run in sides.items():
                        parts = run()
                        if turn > 0:  # the first one warms up
                            rounds[side].append(parts)
                row = {side: medians(found) for side, found in rounds.items()}
                figures[shape][str(threads)] = row
                for side, found in row.items():
                    ratio = row["openai"]["window"] / found["window"]
                    print(
                        f"{shape:<6} {threads:>7} {side:<8} {found['mel and encoder']:>11.3f}s "
                        f"{found['decoding']:>10.3f}s {found['window']:>7.3f}s  {ratio:.2f}",
                        flush=True,
                    )
    store("window", {"seconds": figures, "oracle": f"openai-whisper {whisper.__version__}", "rounds": N_ROUNDS})


if __name__ == "__main__":
    main()
