"""What is transcribed: the shipped recording made long or many, or data sets as `stagewhisper evaluate` takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import numpy as np

from stagewhisper.arrays import Samples
from stagewhisper.audio import SAMPLE_RATE, load_audio
from stagewhisper.evaluation import DataSet, load_datasets

_SAMPLE_TEXT = "Seven."
_LONGEST_PAUSE = 1.0
_NOISE = 1e-3


@dataclass(frozen=True)
class Recording:
    """One recording, and what is said in it where that is known."""

    samples: Samples
    language: str
    text: str | None = None


@dataclass(frozen=True)
class Workload:
    """Recordings under a name."""

    name: str
    recordings: tuple[Recording, ...]

    @property
    def duration(self) -> float:
        """Seconds of all recordings."""
        return sum(len(recording.samples) for recording in self.recordings) / SAMPLE_RATE

    @property
    def has_texts(self) -> bool:
        """Whether what is said is known of every recording."""
        return all(recording.text is not None for recording in self.recordings)

    def digest(self) -> str:
        """A text that changes with samples and languages."""
        total = sha256()
        for recording in self.recordings:
            total.update(recording.samples.tobytes())
            total.update(recording.language.encode())
        return total.hexdigest()[:20]


def long_clip(seconds: float, *, language: str = "en") -> Workload:
    """One recording of that length: the shipped one again and again, each time louder or softer, after a pause."""
    rng, word = np.random.default_rng(0), _sample()
    pieces: list[Samples] = []
    n_samples = round(seconds * SAMPLE_RATE)
    while sum(map(len, pieces)) < n_samples:
        pause = np.zeros(round(rng.uniform(0, _LONGEST_PAUSE) * SAMPLE_RATE), np.float32)
        pieces += [pause, _varied(word, rng)]
    return Workload("long", (Recording(np.concatenate(pieces)[:n_samples], language),))


def utterances(count: int, *, language: str = "en") -> Workload:
    """So many short recordings: the shipped one, each time with another loudness and other noise."""
    rng, word = np.random.default_rng(1), _sample()
    return Workload("utterances", tuple(Recording(_varied(word, rng), language, _SAMPLE_TEXT) for _ in range(count)))


def data_workloads(paths: Sequence[str], *, limit: int | None, language: str) -> tuple[Workload, ...]:
    """A workload for each data set; `language` is that of recordings whose own is not told.

    Raises:
        DataSetError: a data set cannot be read.
        AudioError: one of its recordings cannot.
    """
    return tuple(_of_dataset(dataset, language) for dataset in load_datasets(paths, limit=limit))


def _of_dataset(dataset: DataSet, language: str) -> Workload:
    recordings = (
        Recording(load_audio(item.source.read()), item.language or language, item.text) for item in dataset.items
    )
    return Workload(dataset.name, tuple(recordings))


def _sample() -> Samples:
    with (files("stagewhisper") / "assets" / "seven.wav").open("rb") as file:
        return load_audio(file)


def _varied(samples: Samples, rng: np.random.Generator) -> Samples:
    noise = rng.standard_normal(len(samples), np.float32) * np.float32(_NOISE)
    varied: Samples = samples * np.float32(rng.uniform(0.5, 1.0)) + noise
    return varied
