"""eSpeak NG through its C library: speech with the times of its words and phonemes.

The library rather than the program, because only the library tells when each word and phoneme begins. It keeps
global state: one process, one caller.
"""

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stagewhisper.errors import EngineError

# Constants of speak_lib.h.
_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_UTF8, _BY_CHARACTER, _END_PAUSE = 1, 1, 0x1000
_END, _WORD, _PHONEME = 0, 1, 7
_SEPARATED_BY_UNDERSCORES = ord("_") << 8
_STRESS = "',%=|:;_"
_PAUSE = "!"


@dataclass(frozen=True)
class Mark:
    """Something that begins at `time` seconds."""

    time: float
    text: str
    """A phoneme's name without stress; "" for a word."""
    position: int = -1
    """A word's first character in the text; -1 for a phoneme."""


@dataclass(frozen=True)
class Speech:
    """What was said, and when; among the phonemes is silence, whose name is ""."""

    samples: NDArray[np.int16]
    sample_rate: int
    words: tuple[Mark, ...]
    phonemes: tuple[Mark, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event), use_errno=False
)


class _Library:
    """The loaded library, and what its callback has collected so far."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise EngineError("eSpeak NG's library is missing. On Debian: apt-get install espeak-ng")
        self.functions = ctypes.CDLL(path)
        self.sample_rate: int = self.functions.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        if self.sample_rate <= 0:
            raise EngineError(f"eSpeak NG's library {path} does not start. Is its data there? Install espeak-ng-data.")
        self.chunks: list[NDArray[np.int16]] = []
        self.words: list[Mark] = []
        self.phonemes: list[Mark] = []
        self.callback = _Callback(self.collect)  # kept alive as long as the library may call it
        self.functions.espeak_SetSynthCallback(self.callback)
        self.functions.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def collect(
        self, samples: "ctypes._Pointer[ctypes.c_short]", n_samples: int, events: "ctypes._Pointer[_Event]"
    ) -> int:
        if samples and n_samples:
            self.chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).astype(np.int16))
        index = 0
        while events[index].type != _END:
            event = events[index]
            time = event.audio_position / 1000
            if event.type == _WORD:
                self.words.append(Mark(time, "", event.text_position - 1))
            elif event.type == _PHONEME:
                self.phonemes.append(Mark(time, _phoneme(event.id.string.decode("utf-8", "ignore"))))
            index += 1
        return 0


@lru_cache(maxsize=1)
def _library() -> _Library:
    return _Library()


def speak(
    text: str, *, voice: str, words_per_minute: int = 165, pitch: int = 50, pitch_range: int = 50, word_gap: int = 0
) -> Speech:
    """`text` spoken by `voice`, such as "en-us+f3". Pitch and its range go from 0 to 100; a gap of 1 is 10 ms.

    Raises:
        EngineError: the library or the voice is missing.
    """
    library = _set_voice(voice)
    library.chunks, library.words, library.phonemes = [], [], []
    for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range), (_WORD_GAP, word_gap)):
        library.functions.espeak_SetParameter(parameter, value, 0)
    data = text.encode() + b"\0"
    library.functions.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None)
    library.functions.espeak_Synchronize()
    samples = np.concatenate(library.chunks) if library.chunks else np.zeros(0, np.int16)
    return Speech(samples, library.sample_rate, tuple(library.words), tuple(library.phonemes))


def phonemes(text: str, *, voice: str) -> list[str]:
    """The phonemes that `voice` would speak, without stress and without pauses.

    Raises:
        EngineError: the library or the voice is missing.
    """
    library = _set_voice(voice)
    remaining = ctypes.c_char_p(text.encode())
    spoken: list[str] = []
    while remaining.value:
        clause = library.functions.espeak_TextToPhonemes(ctypes.byref(remaining), _UTF8, _SEPARATED_BY_UNDERSCORES)
        spoken += [_phoneme(name) for name in clause.decode().replace(" ", "_").split("_")]
    return [name for name in spoken if name]


def _phoneme(name: str) -> str:
    bare = name.strip(_STRESS)
    return "" if bare == _PAUSE else bare


@lru_cache(maxsize=1)
def _set_voice(voice: str) -> _Library:
    library = _library()
    if library.functions.espeak_SetVoiceByName(voice.encode()) != 0:
        raise EngineError(f"eSpeak NG has no voice {voice!r}. This recipe was made with eSpeak NG 1.51.")
    return library
