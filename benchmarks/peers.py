"""Whisper implementations behind two calls, every one decoding in the same way.

Greedy: temperature 0 without a fallback, timestamps, no text of earlier windows as a prompt, at most 224 tokens a
window, openai/whisper's rules of silence, float32, one thread. Each is given what it needs to hear the same:

* openai/whisper, and stagewhisper, compute the spectrogram of the recording followed by 30 s of silence. To transcribe,
  they cut it off where the recording ends and fill up with zeros; to detect the language, they keep the silence.
* transformers' extractor fills the recording up with silence for both. Here it gets the silence beforehand, and its
  spectrogram is cut off where the recording ends.
* faster-whisper fills the spectrogram up with zeros for both. Here it detects the language with the silence.

What these two do by themselves is in `by_design`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import transformers
import whisper
from faster_whisper import WhisperModel
from peer_checkpoints import PeerCheckpoints

import stagewhisper
from stagewhisper.arrays import Samples
from stagewhisper.decoding import most_probable

transformers.logging.set_verbosity_error()  # it warns at each clip that max_new_tokens outranks max_length
transformers.logging.disable_progress_bar()

N_SILENCE = whisper.audio.N_SAMPLES
SAME_INPUT = ("openai-whisper", "transformers", "faster-whisper")
"""Names of the programs that are given the same input."""
LOGPROB_THRESHOLD, NO_SPEECH_THRESHOLD = -1.0, 0.6  # whisper.transcribe's defaults


@dataclass(frozen=True)
class Peer:
    """What a program hears; None for what it is not asked."""

    transcribe: Callable[[Samples, str, str], str] | None
    """Samples, language and task → the text."""
    detect_language: Callable[[Samples], str] | None
    """Samples → the language's code."""
    writes_special_tokens: bool = False
    """Whether a special token that the model puts into a text is part of it."""


def our_text(model: stagewhisper.Model, samples: Samples, language: str, task: str) -> str:
    return model.transcribe(
        samples,
        language=language,
        task=task,
        temperature=0.0,
        condition_on_previous_text=False,
        logprob_threshold=LOGPROB_THRESHOLD,
        no_speech_threshold=NO_SPEECH_THRESHOLD,
    ).text


def our_language(model: stagewhisper.Model, samples: Samples) -> str:
    return most_probable(model.detect_language(samples))


def peers(checkpoints: PeerCheckpoints) -> dict[str, Peer]:
    """The other programs, given the same input."""
    torch.set_num_threads(1)
    return {
        "openai-whisper": _openai(checkpoints),
        "transformers": _transformers(checkpoints),
        "faster-whisper": _faster_whisper(checkpoints),
    }


def by_design(checkpoints: PeerCheckpoints) -> dict[str, Peer]:
    """The same programs where they fill a window up in a way of their own."""
    torch.set_num_threads(1)
    return {
        "transformers, its own padding": _transformers(checkpoints, own_padding=True),
        "faster-whisper, its own padding": _faster_whisper(checkpoints, own_padding=True),
    }


def _openai(checkpoints: PeerCheckpoints) -> Peer:
    model = whisper.load_model(str(checkpoints.openai), device="cpu")

    def transcribe(samples: Samples, language: str, task: str) -> str:
        found = whisper.transcribe(
            model,
            samples,
            language=language,
            task=task,
            temperature=0.0,
            condition_on_previous_text=False,
            logprob_threshold=LOGPROB_THRESHOLD,
            no_speech_threshold=NO_SPEECH_THRESHOLD,
            fp16=False,
        )
        return str(found["text"])

    def detect_language(samples: Samples) -> str:
        mel = whisper.log_mel_spectrogram(samples, model.dims.n_mels, padding=N_SILENCE)
        _, probabilities = model.detect_language(whisper.pad_or_trim(mel, whisper.audio.N_FRAMES))
        return str(max(probabilities, key=probabilities.get))

    return Peer(transcribe, detect_language, writes_special_tokens=True)


def _transformers(checkpoints: PeerCheckpoints, *, own_padding: bool = False) -> Peer:
    processor = transformers.WhisperProcessor.from_pretrained(checkpoints.huggingface)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(
        checkpoints.huggingface, dtype=torch.float32
    ).eval()
    codes = {token: name.strip("<|>") for name, token in model.generation_config.lang_to_id.items()}

    def features(samples: Samples) -> torch.Tensor:
        extracted = processor.feature_extractor(
            samples, sampling_rate=whisper.audio.SAMPLE_RATE, return_tensors="pt", truncation=False, padding="longest"
        )
        mel: torch.Tensor = extracted.input_features
        return mel

    def transcribe(samples: Samples, language: str, task: str) -> str:
        n_frames = len(samples) // whisper.audio.HOP_LENGTH
        padded = _at_least_a_window(samples) if own_padding else _with_silence(samples)
        mel = features(padded)[..., : None if own_padding else n_frames]
        tokens = model.generate(
            mel,
            language=language,
            task=task,
            return_timestamps=True,
            temperature=0.0,
            condition_on_prev_tokens=False,
            logprob_threshold=LOGPROB_THRESHOLD,
            no_speech_threshold=NO_SPEECH_THRESHOLD,
            max_new_tokens=model.config.max_target_positions // 2,
        )
        return str(processor.tokenizer.decode(tokens[0], skip_special_tokens=True))

    def detect_language(samples: Samples) -> str:
        return codes[int(model.detect_language(features(_with_silence(samples))))]

    return Peer(transcribe, None if own_padding else detect_language)


def _faster_whisper(checkpoints: PeerCheckpoints, *, own_padding: bool = False) -> Peer:
    model = WhisperModel(str(checkpoints.ctranslate2), device="cpu", compute_type="float32", cpu_threads=1)

    def transcribe(samples: Samples, language: str, task: str) -> str:
        segments, _ = model.transcribe(
            samples,
            language=language,
            task=task,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            log_prob_threshold=LOGPROB_THRESHOLD,
            no_speech_threshold=NO_SPEECH_THRESHOLD,
        )
        return "".join(segment.text for segment in segments)

    def detect_language(samples: Samples) -> str:
        given = samples if own_padding else _with_silence(samples)
        return str(model.detect_language(features=model.feature_extractor(given))[0])

    return Peer(None if own_padding else transcribe, detect_language)


def _with_silence(samples: Samples) -> Samples:
    return np.pad(samples, (0, N_SILENCE))


def _at_least_a_window(samples: Samples) -> Samples:
    return np.pad(samples, (0, max(0, N_SILENCE - len(samples))))
