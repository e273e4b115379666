"""Real speech for training: digits (fsdd), census words (an4) and one reader's sentences (voices).

`python -m training.recordings AUDIO_FOLDER WORK_FOLDER/corpus` writes one part of a corpus for each source. Every
recording is taken several times: as it is, and at other speeds, in rooms and through codecs. Noise without speech is
made here too.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stagewhisper.audio import SAMPLE_RATE, load_audio
from training import espeak
from training.command import run
from training.corpus import CorpusWriter, Description, with_limits, writing_corpus
from training.grammar.pronunciation import spoken
from training.manifest import of_source, read_manifest
from training.noise import noise
from training.wear import at_speed, worn

_COPIES = {"fsdd": 8, "an4": 6, "voices": 2}
_SPEEDS = {"fsdd": 0.22}  # two speakers have to stand for all throats
_SPEED = 0.12  # log of the largest change of speed, for the other sources
_N_NOISES = 500


def main() -> None:
    """Write all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("corpus", type=Path)
    arguments = parser.parse_args()
    entries = read_manifest(arguments.audio / "manifest.jsonl")
    for source, n_copies in _COPIES.items():
        rng = np.random.default_rng(7)
        with writing_corpus(arguments.corpus, source) as corpus:
            for entry in of_source(entries, source):
                _add_copies(corpus, arguments.audio, entry, source, n_copies, rng)
        print(f"{source}: {corpus.n_utterances} utterances")
    _write_noise(arguments.corpus)


def written(text: str, source: str) -> str:
    """A transcript as the model should write it: AN4 and FSDD have neither capitals nor full stops of use."""
    if source == "voices":
        return text
    words = [word if len(word) == 1 and source == "an4" else word.lower() for word in text.split()]
    words[0] = words[0].capitalize()
    return " ".join(words) + "."


def _add_copies(
    corpus: CorpusWriter, folder: Path, entry: Mapping[str, str], source: str, n_copies: int, rng: np.random.Generator
) -> None:
    samples = load_audio(folder / entry["audio"])
    text = written(entry["text"], source)
    phonemes = tuple(espeak.phonemes(spoken(text, "en")[0], voice="en-us"))
    spread = _SPEEDS.get(source, _SPEED)
    for copy in range(n_copies):
        heard = samples if copy == 0 else at_speed(samples, float(np.exp(rng.uniform(-spread, spread))))
        about = with_limits(Description(text, "en", source, entry["speaker"], 0, 0, phonemes=phonemes), heard)
        corpus.add(about, heard if copy == 0 else worn(heard, rng))


def _write_noise(folder: Path) -> None:
    rng = np.random.default_rng(11)
    with writing_corpus(folder, "noise") as corpus:
        for _ in range(_N_NOISES):
            n_samples = int(rng.uniform(2, 8) * SAMPLE_RATE)
            corpus.add(Description("", "en", "noise", "noise", 0, 0), noise(rng, n_samples))
    print(f"noise: {corpus.n_utterances} clips")


if __name__ == "__main__":
    run(main)
