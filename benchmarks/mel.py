"""The log-Mel spectrogram against openai-whisper's: how far apart, and how long each takes for 30 seconds.

    python benchmarks/mel.py

Why: every figure downstream rests on equal spectrograms, and the time is paid before the first word.
How: the difference is the largest over real recordings, each followed by 30 s of silence as in a transcription,
and over 30 s of noise. The times are for 30 s of noise, on one thread and one core (where the system can bind
a process to one), both interleaved so that a busy machine troubles them alike: 5 rounds of warm-up, then 50;
median and 90th percentile, in milliseconds.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from report import store

from stagewhisper.arrays import Mel, Samples
from stagewhisper.audio import load_audio
from stagewhisper.mel import N_SAMPLES, log_mel

AUDIO = Path(os.environ.get("STAGEWHISPER_TEST_AUDIO", Path(__file__).parents[2] / "shared" / "audio"))
EVERY = 14  # every 14th recording of the manifest: about 300
WARM_UP, ROUNDS = 5, 50


def main() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    recordings = real_recordings()
    noise = (0.1 * np.random.default_rng(0).standard_normal(N_SAMPLES)).astype(np.float32)
    figures: dict[str, Any] = {"n_recordings": len(recordings), "threads": 1, "seconds_per_run": 30}
    for n_mels in (80, 128):
        differences = [difference(samples, n_mels) for samples in recordings]
        figures[str(n_mels)] = {
            "max_abs_difference_speech": max(differences),
            "max_abs_difference_noise": difference(noise, n_mels),
            **times(noise, n_mels),
        }
    show(figures)
    store("mel", figures)


def real_recordings() -> list[Samples]:
    lines = (AUDIO / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [load_audio(AUDIO / json.loads(line)["audio"]) for line in lines[::EVERY]]


def difference(samples: Samples, n_mels: int) -> float:
    ours = log_mel(samples, n_mels=n_mels, padding_samples=N_SAMPLES)
    return float(np.abs(ours - openai_mel(samples, n_mels, padding=N_SAMPLES)).max())


def openai_mel(samples: Samples, n_mels: int, *, padding: int = 0) -> Mel:
    mel: Mel = whisper.audio.log_mel_spectrogram(torch.from_numpy(samples), n_mels, padding=padding).numpy()
    return mel


def times(samples: Samples, n_mels: int) -> dict[str, dict[str, float]]:
    runs: dict[str, Callable[[], Mel]] = {
        "stagewhisper": lambda: log_mel(samples, n_mels=n_mels),
        "openai-whisper": lambda: openai_mel(samples, n_mels),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARM_UP + ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {
        name: {
            "median_ms": round(float(np.median(each[WARM_UP:])), 2),
            "p90_ms": round(float(np.percentile(each[WARM_UP:], 90)), 2),
        }
        for name, each in taken.items()
    }


def show(figures: dict[str, Any]) -> None:
    print(f"{figures['n_recordings']} recordings; 30 s on one thread, median (90th percentile) in ms")
    print(f"{'bins':>4}  {'max difference':>14}  {'noise':>8}  {'stagewhisper':>14}  {'openai-whisper':>14}")
    for n_mels in ("80", "128"):
        row = figures[n_mels]
        columns = [
            f"{row[name]['median_ms']:.1f} ({row[name]['p90_ms']:.1f})" for name in ("stagewhisper", "openai-whisper")
        ]
        speech, noise = row["max_abs_difference_speech"], row["max_abs_difference_noise"]
        print(f"{n_mels:>4}  {speech:>14.1e}  {noise:>8.1e}  {columns[0]:>14}  {columns[1]:>14}")


if __name__ == "__main__":
    main()
