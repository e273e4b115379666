"""Synthetic speech for training: sentences of the grammar, and a reader's, from many voices.

`python -m training.synthesise WORK_FOLDER/corpus --engine espeak --utterances 5000 --part 0` writes one part of a
corpus; parts may be made side by side. The same part number gives the same utterances.
"""

import argparse
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from stagewhisper.audio import SAMPLE_RATE
from training import espeak, other_voices
from training.command import run
from training.corpus import Description, with_limits, writing_corpus
from training.grammar.lexicon import LANGUAGES
from training.grammar.pronunciation import spoken
from training.sentences import Sentence, draw_sentence, read_sentences
from training.voices import TRAINED_OTHER_VOICES, draw_manner
from training.wear import worn

_LANGUAGE_WEIGHTS = {"en": 0.34, "es": 0.22, "de": 0.22, "fr": 0.22}
_VOICE_RUN = 10  # utterances in one voice: changing it costs more than speaking
_SHORTEST = 0.125  # seconds; less is a failed synthesis


def main() -> None:
    """Write one part of the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--engine", choices=("espeak", "flite", "festival"), default="espeak")
    parser.add_argument("--voice", help="flite's or festival's; default: all that are not held out")
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--sentences", type=Path, help="manifest.jsonl with free English sentences to read as well")
    arguments = parser.parse_args()
    free = read_sentences(arguments.sentences) if arguments.sentences else []
    rng = np.random.default_rng([arguments.part, zlib.crc32(f"{arguments.engine}{arguments.voice}".encode())])
    if arguments.engine == "espeak":
        utterances = speak_with_espeak(rng, arguments.utterances, free)
    else:
        voices = [v for e, v in TRAINED_OTHER_VOICES if e == arguments.engine and arguments.voice in (None, v)]
        if not voices:
            known = ", ".join(v for e, v in TRAINED_OTHER_VOICES if e == arguments.engine)
            parser.error(f"{arguments.engine} has no voice {arguments.voice!r} to train on. Known: {known}.")
        utterances = speak_with_others(rng, arguments.engine, voices, arguments.utterances, free)
    name = f"{arguments.engine}-{arguments.voice or 'all'}-{arguments.part}"
    with writing_corpus(arguments.corpus, name) as corpus:
        for about, samples in utterances:
            corpus.add(about, worn(samples, rng))
    print(f"{name}: {corpus.n_utterances} utterances")


def speak_with_espeak(
    rng: np.random.Generator,
    n_utterances: int,
    free: Sequence[str],
    *,
    held_out: bool = False,
    languages: Sequence[str] = LANGUAGES,
) -> Iterator[tuple[Description, NDArray[np.float32]]]:
    """Utterances with the times of words and phonemes, at 16 kHz; held-out voices say reserved sentences."""
    weights = np.array([_LANGUAGE_WEIGHTS[language] for language in languages])
    for index in range(n_utterances):
        if index % _VOICE_RUN == 0:
            language = str(rng.choice(list(languages), p=weights / weights.sum()))
            manner = draw_manner(rng, language, held_out=held_out)
        sentence = draw_sentence(rng, language, free, reserved=held_out)
        said, places = spoken(sentence.text, sentence.language)
        speech = espeak.speak(said, **asdict(manner))
        if len(speech.samples) < int(_SHORTEST * speech.sample_rate):
            continue
        samples = soxr.resample(speech.samples.astype(np.float32) / 32768, speech.sample_rate, SAMPLE_RATE)
        yield _described(sentence, manner.voice, speech, places), samples.astype(np.float32)


def speak_with_others(
    rng: np.random.Generator,
    engine: str,
    voices: Sequence[str],
    n_utterances: int,
    free: Sequence[str],
    *,
    held_out: bool = False,
) -> Iterator[tuple[Description, NDArray[np.float32]]]:
    """English utterances from flite or festival, at 16 kHz; `held_out` asks for reserved sentences."""
    for index in range(n_utterances):
        sentence = draw_sentence(rng, "en", free, reserved=held_out)
        voice = voices[index % len(voices)]
        samples = other_voices.speak(sentence.text, engine=engine, voice=voice, stretch=rng.uniform(0.8, 1.2))
        if len(samples) < int(_SHORTEST * SAMPLE_RATE):
            continue
        phonemes = tuple(espeak.phonemes(spoken(sentence.text, "en")[0], voice="en-us"))
        yield with_limits(Description(sentence.text, "en", engine, voice, 0, 0, phonemes=phonemes), samples), samples


def _described(sentence: Sentence, voice: str, speech: espeak.Speech, places: Sequence[int]) -> Description:
    """What is known of what eSpeak NG said; `places` leads from the characters it was given to the sentence's."""
    phonemes = tuple((mark.time, mark.text) for mark in speech.phonemes)
    loud = [index for index, (_, name) in enumerate(phonemes) if name]
    silences = [time for time, _ in phonemes[loud[-1] + 1 :]]
    words = [word for word in speech.words if 0 <= word.position < len(places)]
    return Description(
        sentence.text,
        sentence.language,
        "espeak",
        voice,
        start=phonemes[loud[0]][0],
        end=silences[0] if silences else len(speech.samples) / speech.sample_rate,
        translation=sentence.translation,
        word_times=tuple((places[word.position], word.time) for word in words),
        phoneme_times=phonemes,
        phonemes=tuple(name for _, name in phonemes if name),
    )


if __name__ == "__main__":
    run(main)
