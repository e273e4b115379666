import numpy as np
import pytest

from stagewhisper.errors import EngineError
from tests.training.voices_here import needs_flite
from training import other_voices


@needs_flite
def test_flite_speaks_at_16_kilohertz_and_slower_when_stretched():
    short, long = (
        other_voices.speak("Seven.", engine="flite", voice="kal16", stretch=stretch) for stretch in (0.8, 1.2)
    )
    assert short.dtype == np.float32
    assert 0.2 < len(short) / 16_000 < 2
    assert len(long) / len(short) == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("engine", ["flite", "festival"])
def test_a_missing_program_says_what_to_install(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=f"apt-get install {engine}"):
        other_voices.speak("Seven.", engine=engine, voice="any")


def test_a_program_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(other_voices._COMMANDS, "flite", lambda *_: ["sh", "-c", "echo no such voice >&2; exit 3"])
    with pytest.raises(EngineError, match="no such voice"):
        other_voices.speak("Seven.", engine="flite", voice="nobody")


def test_a_program_that_writes_nothing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(other_voices._COMMANDS, "flite", lambda *_: ["true"])
    with pytest.raises(EngineError, match="flite wrote no speech"):
        other_voices.speak("Seven.", engine="flite", voice="nobody")
