"""Recordings cut into windows of 30 s, the same for every program.

    recording 1  ├──────30 s──────┤├──────30 s──────┤├─5 s─┤      recording 2  ├─0.5 s─┤
    windows            0                  1             2                          3
    batch of 2   ╰──────────── one call ────────────╯╰───────── one call ──────────────╯

Windows are cut where 30 s are over, not where a text ends: so the work does not depend on what a program hears, and all
of them are given the same. A batch is of one language. What is shorter is filled up with zeros.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stagewhisper.arrays import Samples

N_SAMPLES = 480_000
"""30 s at 16 kHz."""


@dataclass(frozen=True)
class Windows:
    """All windows of one piece of audio, in a folder: samples one after another, mapped into memory."""

    samples: np.ndarray
    """All windows, one behind the other, none filled up."""
    bounds: tuple[tuple[int, int], ...]
    """First and last sample of each."""
    languages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.bounds)

    def window(self, index: int) -> Samples:
        """The window at `index`, 30 s long."""
        start, end = self.bounds[index]
        found: Samples = np.zeros(N_SAMPLES, np.float32)
        found[: end - start] = self.samples[start:end]
        return found

    def batches(self, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The language and the windows of each batch; those of a language follow one another."""
        for language in dict.fromkeys(self.languages):
            members = [index for index, other in enumerate(self.languages) if other == language]
            for first in range(0, len(members), size):
                yield language, tuple(members[first : first + size])


def write_windows(folder: Path, recordings: Sequence[np.ndarray], languages: Sequence[str]) -> Windows:
    """The windows of these recordings, mono at 16 kHz and of any length, written into `folder` for worker processes."""
    bounds: list[tuple[int, int]] = []
    spoken: list[str] = []
    position = 0
    for samples, language in zip(recordings, languages, strict=True):
        for start in range(0, max(len(samples), 1), N_SAMPLES):
            n_samples = min(N_SAMPLES, len(samples) - start)
            bounds.append((position + start, position + start + n_samples))
            spoken.append(language)
        position += len(samples)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "samples.npy", np.concatenate(recordings).astype(np.float32))
    np.save(folder / "bounds.npy", np.array(bounds, np.int64))
    np.save(folder / "languages.npy", np.array(spoken))
    return read_windows(folder)


def read_windows(folder: Path) -> Windows:
    """What `write_windows` has written."""
    bounds = np.load(folder / "bounds.npy").tolist()
    return Windows(
        samples=np.load(folder / "samples.npy", mmap_mode="r"),
        bounds=tuple((int(start), int(end)) for start, end in bounds),
        languages=tuple(str(language) for language in np.load(folder / "languages.npy")),
    )
