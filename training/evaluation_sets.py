"""Data sets that judge nano: sentences, voices and people it never heard, and sound without speech.

`python -m training.evaluation_sets WORK_FOLDER AUDIO_FOLDER` writes one folder per set under WORK_FOLDER/evaluation,
each with a manifest.jsonl for `stagewhisper evaluate`. Fixed seeds: the same sets every time.
"""

import argparse
import json
import shutil
import wave
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augment import worn
from training.corpus import Description
from training.recordings import noise
from training.splits import held_out_speakers
from training.synthesise import speak_with_espeak, speak_with_others
from training.voices import HELD_OUT_OTHER_VOICES, LANGUAGES

N_SYNTHETIC = 150
N_SILENT = 100
N_LONG = 20


def main() -> None:
    """Write all sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("audio", type=Path)
    arguments = parser.parse_args()
    folder = arguments.work / "evaluation"
    if folder.exists():
        shutil.rmtree(folder)
    for language in LANGUAGES:
        _write_synthetic(folder, language)
    _write_other_voices(folder)
    _write_silence(folder)
    _write_long(folder)
    _write_strangers(folder, arguments.audio)
    for manifest in sorted(folder.glob("*/manifest.jsonl")):
        print(f"{manifest.parent.name}: {len(manifest.read_text().splitlines())} clips")


@dataclass
class _Set:
    """A data set being written."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.lines: list[dict[str, Any]] = []

    def add(self, samples: NDArray[np.float32], **fields: object) -> None:
        name = f"{len(self.lines):03d}.wav"
        with wave.open(str(self.folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        self.link(name, **fields)

    def link(self, audio: str, **fields: object) -> None:
        self.lines.append({"audio": audio, "subset": self.folder.name, **fields})

    def close(self) -> None:
        lines = (json.dumps(line, ensure_ascii=False) for line in self.lines)
        (self.folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def _write_synthetic(folder: Path, language: str) -> None:
    """Reserved sentences from held-out voices; for translation the same clips with the English text."""
    rng = np.random.default_rng([20, LANGUAGES.index(language)])
    transcribe = _Set(folder / f"synthetic-{language}")
    translate = _Set(folder / f"translate-{language}") if language != "en" else None
    for about, samples in speak_with_espeak(rng, N_SYNTHETIC, [], held_out=True, languages=(language,)):
        about, samples = _with_margins(about, worn(samples, rng), rng)
        common = {
            "language": language,
            "speaker": about.speaker,
            "start": round(about.start, 2),
            "end": round(about.end, 2),
        }
        transcribe.add(samples, text=about.text, **common)
        if translate is not None:
            translate.add(samples, text=about.translation, task="translate", **common)
    for one in filter(None, (transcribe, translate)):
        one.close()


def _with_margins(
    about: Description, samples: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Description, NDArray[np.float32]]:
    """The clip with up to half a second of silence before and after it, and faint noise all over."""
    before, after = (int(rng.uniform(0, 0.5) * 16_000) for _ in range(2))
    padded = np.pad(samples, (before, after))
    hiss = rng.standard_normal(len(padded)) * 10 ** rng.uniform(-4, -2.5)
    shift = before / 16_000
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
        n_samples = int(rng.uniform(1, 30) * 16_000)
        samples = np.zeros(n_samples, np.float32) if index % 10 == 0 else noise(rng, n_samples)
        one.add(samples, text="", language="en")
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
            parts.append(np.pad(samples * 0.7, (0, int(pause * 16_000))))
            at += len(parts[-1]) / 16_000
        one.add(np.concatenate(parts), text=" ".join(texts), language=language, segments=segments)
    one.close()


def _write_strangers(folder: Path, audio: Path) -> None:
    """Real people who were left out of training."""
    entries = [json.loads(line) for line in (audio / "manifest.jsonl").read_text().splitlines()]
    strangers = held_out_speakers(entry["speaker"] for entry in entries if "speaker" in entry)
    for source in ("fsdd", "an4"):
        one = _Set(folder / source)
        for entry in _of(entries, source, strangers):
            one.link(
                str((audio / entry["audio"]).resolve()), text=entry["text"], language="en", speaker=entry["speaker"]
            )
        one.close()


def _of(entries: Iterable[dict[str, Any]], source: str, speakers: set[str]) -> Iterable[dict[str, Any]]:
    return (e for e in entries if e["audio"].startswith(f"{source}/") and e.get("speaker") in speakers)


if __name__ == "__main__":
    main()
