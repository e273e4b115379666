"""Real speech for training: digits (fsdd), census words (an4) and one reader's sentences (voices).

`python -m training.recordings AUDIO_FOLDER WORK_FOLDER` writes one corpus for each source. Every recording is taken
several times, as it is and at other speeds, in rooms and through codecs. Noise without speech is made here too.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stagewhisper.audio import load_audio
from training import espeak
from training.augment import at_speed, worn
from training.grammar.pronunciation import spoken
from training.corpus import CorpusWriter, Description, Utterance, log_power_of, with_limits

_COPIES = {"fsdd": 5, "an4": 6, "voices": 2}


def main() -> None:
    """Write the corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    entries = [json.loads(line) for line in (arguments.audio / "manifest.jsonl").read_text().splitlines()]
    for source, n_copies in _COPIES.items():
        rng = np.random.default_rng(7)
        writer = CorpusWriter(arguments.work, source)
        for entry in entries:
            if entry["audio"].split("/")[0] == source:
                _add_copies(writer, arguments.audio, entry, source, n_copies, rng)
        writer.close()
        print(f"{source}: {writer.n_utterances} utterances")
    _write_noise(arguments.work)


def written(text: str, source: str) -> str:
    """A transcript as the model should write it: AN4 and FSDD have neither capitals nor full stops of use."""
    if source == "voices":
        return text
    words = [word if len(word) == 1 and source == "an4" else word.lower() for word in text.split()]
    words[0] = words[0].capitalize()
    return " ".join(words) + "."


def _add_copies(
    writer: CorpusWriter, folder: Path, entry: dict[str, str], source: str, n_copies: int, rng: np.random.Generator
) -> None:
    samples = load_audio(folder / entry["audio"])
    text = written(entry["text"], source)
    phonemes = tuple(name for name in espeak.phonemes(spoken(text, "en")[0], voice="en-us") if name != "!")
    for copy in range(n_copies):
        heard = samples if copy == 0 else at_speed(samples, float(np.exp(rng.uniform(-0.12, 0.12))))
        about = with_limits(Description(text, "en", source, entry["speaker"], 0, 0, phonemes=phonemes), heard)
        writer.add(about, heard if copy == 0 else worn(heard, rng))


def _write_noise(folder: Path) -> None:
    rng = np.random.default_rng(11)
    writer = CorpusWriter(folder, "noise")
    for _ in range(500):
        seconds = float(rng.uniform(2, 8))
        writer.add(Description("", "en", "noise", "noise", 0, 0), noise(rng, int(seconds * 16_000)))
    writer.close()
    print(f"noise: {writer.n_utterances} clips")


def noise_utterances(n: int) -> list[Utterance]:
    """Some noise, where a corpus without recordings needs it."""
    rng = np.random.default_rng(12)
    return [
        Utterance(Description("", "en", "noise", "noise", 0, 0), log_power_of(noise(rng, 32_000))) for _ in range(n)
    ]


def noise(rng: np.random.Generator, n_samples: int) -> NDArray[np.float32]:
    """Sound without speech: coloured noise, hum, tones, clicks and gusts, alone or together; full scale at 1."""
    time = np.arange(n_samples) / 16_000
    total = np.zeros(n_samples)
    for kind in rng.choice(["colour", "hum", "tones", "clicks", "gusts"], size=rng.integers(1, 4), replace=False):
        if kind in ("colour", "gusts"):
            spectrum = np.fft.rfft(rng.standard_normal(n_samples))
            frequency = np.maximum(np.fft.rfftfreq(n_samples, 1 / 16_000), 20)
            part = np.fft.irfft(spectrum * frequency ** (-rng.uniform(0, 1.2)), n_samples)
            if kind == "gusts":
                part *= 1 + np.sin(2 * np.pi * time * rng.uniform(0.2, 3) + rng.uniform(0, 6.3))
        elif kind == "hum":
            base = rng.choice([50, 60, 100, 120])
            part = sum(
                np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.3)) / k ** rng.uniform(0.5, 2)
                for k in range(1, 12)
            )
        elif kind == "tones":
            part = np.zeros(n_samples)
            for _ in range(int(rng.integers(1, 6))):
                first, last = sorted(rng.integers(0, n_samples, 2))
                sweep = rng.uniform(150, 3000) + rng.uniform(-200, 200) * time[first:last]
                part[first:last] += np.sin(2 * np.pi * sweep * time[first:last]) * rng.uniform(0.2, 1)
        else:
            part = np.zeros(n_samples)
            for place in rng.integers(0, max(1, n_samples - 400), rng.integers(1, 20)):
                part[place : place + 400] += rng.standard_normal(400) * np.exp(-np.arange(400) / rng.uniform(5, 100))
        total += part / (np.abs(part).max() + 1e-9) * rng.uniform(0.1, 1)
    return (total / (np.abs(total).max() + 1e-9) * 10 ** rng.uniform(-3, -0.1)).astype(np.float32)


if __name__ == "__main__":
    main()
