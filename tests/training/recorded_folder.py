"""A folder of recordings as the recipe wants it, with tones in place of people."""

import json
import wave
from pathlib import Path

import numpy as np

PEOPLE = {
    "fsdd": ("fsdd-jackson", "fsdd-theo"),
    "an4": ("an4-01", "an4-02", "an4-03"),
    "voices": ("voices-kathleen",),
}
TEXTS = {"fsdd": "seven", "an4": "ENTER A SIX", "voices": "The door is open."}
STRANGERS = {"fsdd-jackson", "an4-01"}


def write_recordings(folder: Path) -> Path:
    lines = []
    for source, speakers in PEOPLE.items():
        (folder / source).mkdir(parents=True)
        for number, speaker in enumerate(speakers):
            name = f"{source}/{number}.wav"
            write_tone(folder / name, frequency=300 + 40 * number)
            lines.append({"audio": name, "text": TEXTS[source], "language": "en", "speaker": speaker})
    lines.append({"audio": "speeches/other.wav", "text": "Not for training.", "language": "en"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return folder


def write_tone(path: Path, *, frequency: float) -> None:
    time = np.arange(8000) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * frequency * time) * ((time > 0.1) & (time < 0.4))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
