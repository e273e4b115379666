"""A data set with errors planted by hand, and a stand-in for a model that makes them.

    clip     reference (words)                    the model's text                                 errors
    a.wav    the cat sat on the mat (6)           the cat sat on a mat                             1 substituted
    b.wav    stop now please (3)                  stop please                                      1 deleted
    c.wav    go home (2)                          go home thank you for watching this film today   7 inserted
    d.wav    nothing (0)                          you                                              1 inserted
    e.wav    guten morgen (2)                     guten morgen                                     none
    f.wav    eins zwei drei vier (4)              eins zwo drei vier                               1 substituted

f.wav is German as e.wav. A seventh recording has no known text, an eighth does not exist.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stagewhisper.errors import AudioError
from stagewhisper.transcript import Segment, Transcript

RECORDS: list[dict[str, Any]] = [
    {"audio": "a.wav", "text": "The cat sat on the mat.", "language": "en", "start": 0.5, "end": 2.0, "subset": "x"},
    {"audio": "b.wav", "text": "STOP NOW PLEASE", "language": "en", "segments": [[0.0, 0.4], [0.6, 1.0]]},
    {"audio": "c.wav", "text": "Go home!", "language": "en"},
    {"audio": "d.wav", "text": ""},
    {"audio": "e.wav", "text": "Guten Morgen", "language": "de"},
    {"audio": "f.wav", "text": "Eins, zwei, drei, vier", "language": "German"},
    {"audio": "g.wav", "text": None, "language": "de"},
    {"audio": "missing.wav", "text": "never heard", "language": "en"},
]


def segment(text: str, start: float, end: float, *, seek: int = 0, temperature: float = 0.0) -> Segment:
    return Segment(0, seek, start, end, text, (1,), temperature, -0.1, 1.0, 0.1)


def transcript(*segments: Segment, language: str = "en", duration: float = 2.0) -> Transcript:
    text = "".join(each.text for each in segments)
    return Transcript(text, segments, language, language_probability=0.9, duration=duration)


ANSWERS = {
    "a.wav": transcript(
        segment(" The cat sat", 0.55, 1.0), segment(" on a mat.", 1.0, 2.1, seek=3000, temperature=0.4), duration=40.0
    ),
    "b.wav": transcript(segment(" Stop please.", 0.3, 1.0)),
    "c.wav": transcript(segment(" Go home. Thank you for watching this film today.", 0.0, 2.0), language="fr"),
    "d.wav": transcript(segment(" You", 0.0, 2.0, temperature=1.0)),
    "e.wav": transcript(segment(" Guten Morgen.", 0.0, 2.0), language="de"),
    "f.wav": transcript(segment(" Eins zwo drei vier.", 0.0, 2.0), language="nl"),
}

OF_REFERENCE = {
    "a.wav": transcript(segment(" The cat on a mat.", 0.0, 2.0)),  # 2 errors, ours 1
    "b.wav": transcript(segment(" Stop now please.", 0.0, 2.0)),  # 0 errors, ours 1: worse
    "c.wav": ANSWERS["c.wav"],  # 7 errors, ours 7
    "d.wav": transcript(),  # 0 errors, ours 1: worse
    "e.wav": transcript(segment(" Guten Tag.", 0.0, 2.0)),  # 1 error, ours 0
    "f.wav": ANSWERS["f.wav"],  # 1 error, ours 1
}


@dataclass
class FakeModel:
    """Answers by the recording's file name, and remembers what it was asked."""

    answers: dict[str, Any] = field(default_factory=lambda: dict(ANSWERS))
    is_multilingual: bool = True
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokenizer: Any = None

    def transcribe(self, audio: Path | bytes, **options: Any) -> Transcript:
        name = audio.name if isinstance(audio, Path) else audio.decode()
        self.calls.append((name, options))
        answer = self.answers.get(name, AudioError(f"There is no file {name!r}."))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def heard(self) -> list[str]:
        """The recordings transcribed to their end, without the warm-up."""
        return [name for name, options in self.calls if "clip_timestamps" not in options]


def write_manifest(folder: Path, records: list[dict[str, Any]] | None = None) -> Path:
    """A manifest of these records, with an empty file for each that the stand-in knows."""
    for name in ANSWERS:
        (folder / name).touch()
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records or RECORDS), encoding="utf-8")
    return path
