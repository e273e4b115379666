"""flite and festival: English voices made of recorded speech, which sound unlike eSpeak NG and tell no times."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stagewhisper.audio import load_audio
from stagewhisper.errors import EngineError


def speak(text: str, *, engine: str, voice: str, stretch: float = 1.0) -> NDArray[np.float32]:
    """`text` spoken by a voice of "flite" or "festival", at 16 kHz; a `stretch` above 1 is slower.

    Raises:
        EngineError: the program or the voice is missing, or it said nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        _run(_COMMANDS[engine](text, voice, stretch, path))
        if not path.is_file():
            raise EngineError(f"{engine} wrote no speech. Is its voice {voice!r} installed? See training/README.md.")
        return load_audio(path)


def _flite(text: str, voice: str, stretch: float, path: Path) -> list[str]:
    return ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.2f}", "-t", text, "-o", str(path)]


def _festival(text: str, voice: str, stretch: float, path: Path) -> list[str]:
    quoted = text.replace("\\", "").replace('"', "")
    script = (
        f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {stretch:.2f}) "
        f'(utt.save.wave (utt.synth (Utterance Text "{quoted}")) "{path}" \'riff))'
    )
    return ["festival", "-b", script]


_COMMANDS: dict[str, Callable[[str, str, float, Path], list[str]]] = {"flite": _flite, "festival": _festival}


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 no shell, and our own texts
    except FileNotFoundError as error:
        raise EngineError(f"The program {command[0]} is missing. On Debian: apt-get install {command[0]}") from error
    except subprocess.CalledProcessError as error:
        raise EngineError(f"{' '.join(command)} failed: {error.stderr.strip()}") from error
