"""Utterances on disk, ready to be drawn: log power spectra in one flat file, all else as JSON lines beside it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from stagewhisper.atomic import writing_atomically
from stagewhisper.errors import DataSetError
from stagewhisper.mel import log_mel

N_MELS = 80
FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class Description:
    """What is known of an utterance beside its sound. Times are seconds from its beginning."""

    text: str
    """What is said, as it should be written; "" for noise."""
    language: str
    source: str
    """What made it: "espeak", "flite", "festival", "fsdd", "an4", "an4-words", "voices", "noise"."""
    speaker: str
    start: float
    """Where speech begins."""
    end: float
    translation: str | None = None
    """The same in English, where the language is another."""
    word_times: tuple[tuple[int, float], ...] = ()
    """(position in the text, time) of every word's beginning, where known."""
    phoneme_times: tuple[tuple[float, str], ...] = ()
    """(time, phoneme) where known; "" is silence."""
    phonemes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Utterance:
    """A description and its sound."""

    about: Description
    log_power: NDArray[np.float16]
    """"n_frames n_mels": log10 of the mel power, one frame per 10 ms."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.log_power) / FRAMES_PER_SECOND


class CorpusWriter:
    """Appends utterances to a part of a corpus; see `writing_corpus`."""

    def __init__(self, mels: BinaryIO, lines: TextIO) -> None:
        self._mels, self._lines = mels, lines
        self.n_utterances = 0

    def add(self, about: Description, samples: NDArray[np.float32]) -> None:
        """Append one utterance; `samples` are mono at 16 kHz, full scale at 1."""
        self.add_log_power(about, log_power_of(samples))

    def add_log_power(self, about: Description, log_power: NDArray[np.float16]) -> None:
        """Append an utterance whose sound is "n_frames n_mels" already, as `log_power_of` gives it."""
        self._mels.write(log_power.tobytes())
        self._lines.write(json.dumps({**asdict(about), "n_frames": len(log_power)}, ensure_ascii=False) + "\n")
        self.n_utterances += 1


@contextmanager
def writing_corpus(folder: Path, name: str) -> Iterator[CorpusWriter]:
    """A writer of the part `name`: `name.mels` and `name.jsonl` are there when the block ends, and only then."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{name}.mels.partial"
    try:
        with writing_atomically(folder / f"{name}.jsonl") as lines:
            with unfinished.open("wb") as mels:
                yield CorpusWriter(mels, lines)
            unfinished.replace(folder / f"{name}.mels")
    finally:
        unfinished.unlink(missing_ok=True)


def read_corpus(folder: Path, names: Sequence[str] | None = None) -> list[Utterance]:
    """All utterances of a folder, or of the named parts; the sound stays on disk until it is used.

    Raises:
        DataSetError: there is no corpus, or not the named part.
    """
    paths = sorted(folder.glob("*.jsonl")) if names is None else [folder / f"{name}.jsonl" for name in names]
    missing = [path for path in paths if not path.is_file()] if paths else [folder / "*.jsonl"]
    if missing:
        raise DataSetError(f"No corpus at {missing[0]}. training/make_nano shows which commands write one.")
    return [utterance for path in paths for utterance in _read(path)]


def log_power_of(samples: NDArray[np.float32]) -> NDArray[np.float16]:
    """Log10 of the mel power, "n_frames n_mels"; an even number of frames, so that it ends with an encoder position."""
    padded = np.pad(samples, (0, -len(samples) % 320)).astype(np.float32)
    return np.ascontiguousarray((log_mel(padded, n_mels=N_MELS) * 4 - 4).T).astype(np.float16)


def speech_limits(log_power: NDArray[np.float16]) -> tuple[float, float]:
    """Where the sound of a clip with one utterance begins and ends: a third of the way from its floor to its peak."""
    energy = log_power.astype(np.float32).max(axis=1)
    energy = np.convolve(np.pad(energy, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    peak, floor = float(np.percentile(energy, 98)), float(np.percentile(energy, 5))
    threshold = max(peak - 3.5, floor + 0.35 * (peak - floor))
    loud = np.flatnonzero(energy > threshold)
    if not len(loud):
        return 0.0, len(energy) / FRAMES_PER_SECOND
    return float(loud[0]) / FRAMES_PER_SECOND, float(loud[-1] + 1) / FRAMES_PER_SECOND


def with_limits(about: Description, samples: NDArray[np.float32]) -> Description:
    """`about` with `start` and `end` measured on the samples."""
    start, end = speech_limits(log_power_of(samples))
    return replace(about, start=start, end=end)


def _read(path: Path) -> Iterator[Utterance]:
    mels = np.memmap(path.with_suffix(".mels"), np.float16, "r").reshape(-1, N_MELS)
    first = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        n_frames = fields.pop("n_frames")
        for name in ("word_times", "phoneme_times", "phonemes"):
            fields[name] = tuple(tuple(item) if isinstance(item, list) else item for item in fields[name])
        yield Utterance(Description(**fields), mels[first : first + n_frames])
        first += n_frames
