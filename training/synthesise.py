"""Synthetic speech for training: sentences of the grammar, and a reader's, from many voices.

`python -m training.synthesise WORK_FOLDER --engine espeak --utterances 30000 --part 0` writes one part of a corpus;
parts may be made side by side. The same part number gives the same utterances.
"""

import argparse
import json
import random
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from stagewhisper.audio import load_audio
from training import espeak
from training.augment import worn
from training.corpus import CorpusWriter, Description, with_limits
from training.grammar import draw_meaning, render, translation
from training.grammar.pronunciation import spoken
from training.voices import HELD_OUT_OTHER_VOICES, LANGUAGES, OTHER_VOICES, draw_manner

_LANGUAGE_WEIGHTS = (0.34, 0.22, 0.22, 0.22)
_VOICE_RUN = 25  # utterances in one voice: changing it costs more than speaking
_ALONE_MS = 0.15


@dataclass(frozen=True)
class Sentence:
    """What is to be said."""

    text: str
    language: str
    translation: str | None = None


def main() -> None:
    """Write one part of the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--engine", choices=("espeak", "flite", "festival"), default="espeak")
    parser.add_argument("--voice", help="flite's or festival's; default: all that are not held out")
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--sentences", type=Path, help="manifest.jsonl with free English sentences to read as well")
    arguments = parser.parse_args()
    free = read_sentences(arguments.sentences) if arguments.sentences else []
    writer = CorpusWriter(arguments.work, f"{arguments.engine}-{arguments.voice or 'all'}-{arguments.part}")
    rng = np.random.default_rng([arguments.part, zlib.crc32(f"{arguments.engine}{arguments.voice}".encode())])
    if arguments.engine == "espeak":
        utterances = speak_with_espeak(rng, arguments.utterances, free)
    else:
        voices = [v for e, v in OTHER_VOICES if e == arguments.engine and arguments.voice in (None, v)]
        utterances = speak_with_others(rng, arguments.engine, voices, arguments.utterances, free)
    for about, samples in utterances:
        writer.add(about, worn(samples, rng))
    writer.close()
    print(f"{arguments.engine} {arguments.part}: {writer.n_utterances} utterances")


def read_sentences(manifest: Path) -> list[str]:
    """The sentences of the `voices` recordings, each once."""
    entries = (json.loads(line) for line in manifest.read_text().splitlines())
    return sorted({entry["text"] for entry in entries if entry["audio"].startswith("voices/") and entry["text"]})


def draw_sentence(rng: np.random.Generator, language: str, free: list[str], *, reserved: bool = False) -> Sentence:
    """A sentence of the grammar, or now and then a free one; `reserved` ones are for evaluation alone."""
    if free and language == "en" and rng.random() < 0.2:
        return Sentence(free[rng.integers(len(free))], "en")
    draws = random.Random(int(rng.integers(1 << 62)))
    while True:
        meaning = draw_meaning(draws)
        text = render(meaning, language, draws)
        if is_reserved(text) == reserved:
            return Sentence(text, language, None if language == "en" else translation(meaning))


def is_reserved(text: str) -> bool:
    """Whether a sentence is never trained on: one in twenty of those of three words and more."""
    return len(text.split()) >= 3 and zlib.crc32(text.lower().encode()) % 20 == 0


def speak_with_espeak(
    rng: np.random.Generator,
    n_utterances: int,
    free: list[str],
    *,
    held_out: bool = False,
    languages: tuple[str, ...] = LANGUAGES,
) -> Iterator[tuple[Description, NDArray[np.float32]]]:
    """Utterances in all languages with the times of words and phonemes."""
    weights = np.array([_LANGUAGE_WEIGHTS[LANGUAGES.index(language)] for language in languages])
    for index in range(n_utterances):
        if index % _VOICE_RUN == 0:
            language = str(rng.choice(languages, p=weights / weights.sum()))
            manner = draw_manner(rng, language, held_out=held_out)
        sentence = draw_sentence(rng, language, free, reserved=held_out)
        said, places = spoken(sentence.text, sentence.language)
        speech = espeak.speak(
            said,
            voice=manner.voice,
            words_per_minute=manner.words_per_minute,
            pitch=manner.pitch,
            pitch_range=manner.pitch_range,
            word_gap=manner.word_gap,
        )
        if len(speech.samples) < speech.sample_rate // 8:
            continue
        samples = soxr.resample(speech.samples.astype(np.float32) / 32768, speech.sample_rate, 16_000).astype(
            np.float32
        )
        yield _described(sentence, manner.voice, speech, places), samples


def _described(sentence: Sentence, voice: str, speech: espeak.Speech, places: Sequence[int]) -> Description:
    marks = tuple((mark.time, "" if mark.text == "!" else mark.text) for mark in speech.phonemes)
    loud = [index for index, (_, name) in enumerate(marks) if name]
    first, last = loud[0], loud[-1]
    return Description(
        sentence.text,
        sentence.language,
        "espeak",
        voice,
        start=marks[first][0],
        end=marks[last + 1][0] if last + 1 < len(marks) else len(speech.samples) / speech.sample_rate,
        translation=sentence.translation,
        word_times=tuple(
            (places[mark.position], mark.time) for mark in speech.words if 0 <= mark.position < len(places)
        ),
        phoneme_times=marks,
        phonemes=tuple(name for _, name in marks if name),
    )


def speak_with_others(
    rng: np.random.Generator,
    engine: str,
    voices: list[str],
    n_utterances: int,
    free: list[str],
    *,
    held_out: bool = False,
) -> Iterator[tuple[Description, NDArray[np.float32]]]:
    """English from flite or festival, whose voices are recorded speech in pieces, or models of it."""
    for index in range(n_utterances):
        sentence = draw_sentence(rng, "en", free, reserved=held_out)
        voice = voices[index % len(voices)]
        samples = (_flite if engine == "flite" else _festival)(sentence.text, voice, rng)
        if len(samples) < 2000:
            continue
        phonemes = tuple(name for name in espeak.phonemes(spoken(sentence.text, "en")[0], voice="en-us") if name != "!")
        yield with_limits(Description(sentence.text, "en", engine, voice, 0, 0, phonemes=phonemes), samples), samples


def _flite(text: str, voice: str, rng: np.random.Generator) -> NDArray[np.float32]:
    stretch = f"duration_stretch={rng.uniform(0.8, 1.2):.2f}"
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(
            ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", file.name], check=True, capture_output=True
        )
        return load_audio(file.name)


def _festival(text: str, voice: str, rng: np.random.Generator) -> NDArray[np.float32]:
    quoted = text.replace("\\", "").replace('"', "")
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        script = (
            f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.2):.2f}) "
            f'(utt.save.wave (utt.synth (Utterance Text "{quoted}")) "{file.name}" \'riff))'
        )
        subprocess.run(["festival", "-b", script], check=True, capture_output=True)
        return load_audio(file.name)


# What is held out for evaluation is named here once more, for those who look for it.
assert not set(OTHER_VOICES) & set(HELD_OUT_OTHER_VOICES)

if __name__ == "__main__":
    main()
