"""A stand-in for the library below the command line, which the tests can make do anything."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stagewhisper.transcript import Segment, Transcript


def segment(id, start, end, text):  # noqa: A002
    return Segment(
        id=id,
        seek=0,
        start=float(start),
        end=float(end),
        text=text,
        tokens=(1,),
        temperature=0.0,
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.1,
    )


class FakeStream:
    def __init__(self, segments):
        self._segments = segments
        self.language, self.language_probability = "en", 0.9
        self.duration, self.position = 10.0, 0.0

    def __iter__(self):
        for item in self._segments:
            if isinstance(item, BaseException):
                raise item
            self.position = item.end
            yield item

    def transcript(self):
        segments = tuple(self._segments)
        return Transcript(text="".join(s.text for s in segments), segments=segments, language="en", duration=10.0)


@dataclass
class FakeLibrary:
    """What was asked of the library, and what it answers: `contents` by the name of the file."""

    segments: list = field(default_factory=lambda: [segment(0, 0, 2, " Hello."), segment(1, 2, 3.5, " Bye.")])
    contents: dict = field(default_factory=dict)
    load_error: BaseException | None = None
    is_multilingual: bool = True
    loads: list = field(default_factory=list)
    calls: list = field(default_factory=list)

    def load(self, model, **options):
        self.loads.append((model, options))
        if self.load_error is not None:
            raise self.load_error
        return SimpleNamespace(segments=self._segments, is_multilingual=self.is_multilingual)

    def _segments(self, audio, **options):
        self.calls.append((audio, options))
        name = audio.name if isinstance(audio, Path) else "stdin"
        answer = self.contents.get(name, self.segments)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else FakeStream(answer)


@pytest.fixture
def library(monkeypatch, tmp_path):
    """The fake library in place of the real one; the working directory is an empty folder."""
    fake = FakeLibrary()
    module = ModuleType("stagewhisper.model")
    module.load = fake.load
    monkeypatch.setitem(sys.modules, "stagewhisper.model", module)
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "STAGEWHISPER_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return fake


@pytest.fixture
def recordings(library, tmp_path):
    """Two files in the working directory."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    return tmp_path
