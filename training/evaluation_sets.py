"""Data sets that judge nano: sentences, voices and people it never heard, and sound without speech.

`python -m training.evaluation_sets WORK_FOLDER AUDIO_FOLDER` writes one folder per set under WORK_FOLDER/evaluation,
each with a manifest.jsonl for `stagewhisper evaluate`. Fixed seeds: the same sets every time.
"""

import argparse
import json
import shutil
import wave
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewhisper.audio import SAMPLE_RATE
from stagewhisper.errors import DataSetError
from training.command import run
from training.corpus import Description
from training.grammar.lexicon import LANGUAGES
from training.manifest import of_source, read_manifest
from training.noise import noise
from training.splits import HELD_OUT_DIGIT_SPEAKER, held_out_speakers
from training.synthesise import speak_with_espeak, speak_with_others
from training.voices import HELD_OUT_OTHER_VOICES
from training.wear import worn

N_SYNTHETIC = 150
N_SILENT = 100
N_LONG = 20


def main() -> None:
    """Write all sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("audio", type=Path)
    arguments = parser.parse_args()
    entries = read_manifest(
        arguments.audio / "manifest.jsonl"
    )  # first, since it fails at once where the folder is a wrong one
    strangers = {source: strangers_of(entries, source) for source in ("fsdd", "an4")}
    folder = arguments.work / "evaluation"
    if folder.exists():
        shutil.rmtree(folder)
    for language in LANGUAGES:
        _write_synthetic(folder, language)
    _write_other_voices(folder)
    _write_silence(folder)
    _write_long(folder)
    _write_strangers(folder, arguments.audio, strangers)
    for manifest in sorted(folder.glob("*/manifest.jsonl")):
        print(f"{manifest.parent.name}: {len(manifest.read_text(encoding='utf-8').splitlines())} clips")


class _Set:
    """A data set being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, Any]] = []
        folder.mkdir(parents=True)

    def add(self, samples: NDArray[np.float32], **fields: object) -> None:
        """Write a clip, and a line of the manifest with these fields."""
        name = f"{len(self.lines):03d}.wav"
        with wave.open(str(self.folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        self.link(name, **fields)

    def link(self, audio: str, **fields: object) -> None:
        """Name a recording that lies elsewhere."""
        self.lines.append({"audio": audio, "subset": self.folder.name, **fields})

    def close(self) -> None:
        """Write the manifest."""
        lines = (json.dumps(line, ensure_ascii=False) for line in self.lines)
        (self.folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_synthetic(folder: Path, language: str) -> None:
    """Reserved sentences from held-out voices; for translation the same clips with the English text."""
    rng = np.random.default_rng([20, LANGUAGES.index(language)])
    transcribe = _Set(folder / f"synthetic-{language}")
    translate = _Set(folder / f"translate-{language}") if language != "en" else None
    for about, samples in speak_with_espeak(rng, N_SYNTHETIC, [], held_out=True, languages=(language,)):
        about, samples = _with_margins(about, worn(samples, rng), rng)
        start, end = round(about.start, 2), round(about.end, 2)
        common = {"language": language, "speaker": about.speaker, "start": start, "end": end}
        transcribe.add(samples, text=about.text, **common)
        if translate is not None:
            translate.add(samples, text=about.translation, task="translate", **common)
    for one in filter(None, (transcribe, translate)):
        one.close()


def _with_margins(
    about: Description, samples: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Description, NDArray[np.float32]]:
    """The clip with up to half a second of silence before and after it, and faint noise all over."""
    before, after = (int(rng.uniform(0, 0.5) * SAMPLE_RATE) for _ in range(2))
    padded = np.pad(samples, (before, after))
    hiss = rng.standard_normal(len(padded)) * 10 ** rng.uniform(-4, -2.5)
    shift = before / SAMPLE_RATE
    return replace(about, start=about.start + shift, end=about.end + shift), (padded + hiss).astype(np.float32)


def _write_other_voices(folder: Path) -> None:
    rng = np.random.default_rng(30)
    one = _Set(folder / "synthetic-en-other")
    for engine, voice in HELD_OUT_OTHER_VOICES:
        for about, samples in speak_with_others(rng, engine, [voice], N_SYNTHETIC // 2, [], held_out=True):
            one.add(samples * 0.9, text=about.text, language="en", speaker=voice)
    one.close()


def _write_silence(folder: Path) -> None:
    rng = np.random.default_rng(40)
    one = _Set(folder / "silence")
    for index in range(N_SILENT):
        n_samples = int(rng.uniform(1, 30) * SAMPLE_RATE)
        samples = np.zeros(n_samples, np.float32) if index % 10 == 0 else noise(rng, n_samples)
        one.add(samples, text="")
    one.close()


def _write_long(folder: Path) -> None:
    """A minute of many utterances with pauses, from one voice in each."""
    rng = np.random.default_rng(50)
    one = _Set(folder / "synthetic-long")
    for index in range(N_LONG):
        language = LANGUAGES[index % len(LANGUAGES)]
        parts, segments, at, texts = [], [], 0.0, []
        for about, samples in speak_with_espeak(rng, 18, [], held_out=True, languages=(language,)):
            pause = float(rng.uniform(0.4, 2.0))
            segments.append({"start": round(at + about.start, 2), "end": round(at + about.end, 2), "text": about.text})
            texts.append(about.text)
            parts.append(np.pad(samples * 0.7, (0, int(pause * SAMPLE_RATE))))
            at += len(parts[-1]) / SAMPLE_RATE
        one.add(np.concatenate(parts), text=" ".join(texts), language=language, segments=segments)
    one.close()


def strangers_of(entries: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """The recordings of a source by people who are left out of training.

    Raises:
        DataSetError: there are none.
    """
    theirs = of_source(entries, source)
    held_out = held_out_speakers(entry["speaker"] for entry in theirs)
    found = [entry for entry in theirs if entry["speaker"] in held_out]
    if not found:
        speakers = ", ".join(sorted({entry["speaker"] for entry in theirs})) or "nobody"
        raise DataSetError(
            f"No recording in {source}/ is by a person who is kept out of training; it has {speakers}. "
            f"Kept out are {HELD_OUT_DIGIT_SPEAKER} and every eighth of the speakers called an4-… (training/splits.py)."
        )
    return found


def _write_strangers(folder: Path, audio: Path, strangers: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Real people who were left out of training."""
    for source, entries in strangers.items():
        one = _Set(folder / source)
        for entry in entries:
            path = (audio / entry["audio"]).resolve()
            one.link(str(path), text=entry["text"], language="en", speaker=entry["speaker"])
        one.close()


if __name__ == "__main__":
    run(main)
