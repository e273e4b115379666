"""What users call: loading a model, and transcribing with it from one thread or many."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stagewhisper
from stagewhisper import Model, Segment, Transcript, Word
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler import compiled
from stagewhisper.errors import AudioError, BundleError, EngineError, HubError, ModelError, OptionError
from tests.checkpoints import random_dims, save_openai

QUICK: dict[str, Any] = {"temperature": 0.0, "sample_len": 12}


def noise(duration: float, seed: int = 0) -> np.ndarray:
    """Made-up audio."""
    n_samples = round(duration * 16_000)
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


@pytest.fixture(scope="module")
def english_only(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Model:
    """An English-only model with random weights."""
    path = save_openai(tmp_path_factory.mktemp("english") / "random.en.pt", random_dims(n_vocab=51_864), seed=1)
    return stagewhisper.load(path, cache_dir=cache_dir)


@pytest.fixture(scope="module")
def babbler(checkpoint_path: Path, cache_dir: Path) -> Model:
    """A model with random weights, which writes something wherever it hears noise; a trained one keeps silent."""
    return stagewhisper.load(checkpoint_path, cache_dir=cache_dir)


def test_eight_threads_get_what_one_thread_gets(babbler: Model) -> None:
    recordings = [noise(2.0 + 5 * i, seed=i) * np.float32(2.0**-i) for i in range(8)]
    options: dict[str, Any] = {"temperature": (0.0, 0.6), "best_of": 2, "sample_len": 8, "without_timestamps": True}
    expected = [babbler.transcribe(recording, **options) for recording in recordings]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda recording: babbler.transcribe(recording, **options), recordings))
    for ours, alone in zip(found, expected, strict=True):
        assert essence(ours) == essence(alone)
    assert len({transcript.text for transcript in expected}) > 1


def essence(transcript: Transcript) -> tuple[object, ...]:
    segments = [(segment.tokens, segment.start, segment.end, segment.temperature) for segment in transcript]
    return transcript.text, transcript.language, segments


def test_a_model_tells_its_shape(model: Model) -> None:
    assert model.dims == random_dims()
    assert model.is_multilingual


def test_a_transcript_iterates_over_its_segments(model: Model) -> None:
    transcript = model.transcribe(noise(2.0), language="de", **QUICK)
    assert list(transcript) == list(transcript.segments)
    assert len(transcript) == len(transcript.segments) > 0
    assert transcript.text == "".join(segment.text for segment in transcript)
    assert transcript.language == "de"
    assert transcript.language_probability is None
    assert transcript.duration == 2.0


def test_a_transcript_as_a_dictionary_has_openai_whispers_keys() -> None:
    segment = Segment(0, 0, 0.5, 1.0, " one", (50_364, 472, 50_389), 0.0, -0.1, 1.0, 0.01)
    transcript = Transcript(" one", (segment,), "en")
    assert transcript.to_dict() == {
        "text": " one",
        "segments": [
            {
                "id": 0,
                "seek": 0,
                "start": 0.5,
                "end": 1.0,
                "text": " one",
                "tokens": [50_364, 472, 50_389],
                "temperature": 0.0,
                "avg_logprob": -0.1,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.01,
            }
        ],
        "language": "en",
    }
    with_words = replace(segment, words=(Word(" one", 0.5, 1.0, 0.9),)).to_dict()
    assert with_words["words"] == [{"word": " one", "start": 0.5, "end": 1.0, "probability": 0.9}]


def test_segments_are_decoded_only_as_they_are_asked_for(babbler: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = babbler.engine.encode

    def counted(mel: np.ndarray) -> Any:
        encoded.append(len(mel))
        return encode(mel)

    monkeypatch.setattr(babbler.engine, "encode", counted)
    stream = babbler.segments(noise(95.0), language="en", no_speech_threshold=None, **QUICK)
    assert encoded == []
    assert (stream.position, stream.duration, stream.language) == (0.0, 95.0, "en")
    next(stream)
    assert encoded == [1]
    positions = [stream.position, *(stream.position for _ in stream)]
    assert all(earlier <= later for earlier, later in pairwise(positions))
    assert 0 < positions[0] < positions[-1] == stream.position == 95.0
    assert len(encoded) > 3


def test_a_stream_that_was_begun_still_gives_the_whole_transcript(babbler: Model) -> None:
    audio, options = noise(40.0), {"language": "en", "no_speech_threshold": None, **QUICK}
    stream = babbler.segments(audio, **options)
    first = next(stream)
    transcript = stream.transcript()
    assert transcript == babbler.transcribe(audio, **options)
    assert transcript.segments[0] == first
    assert [segment.id for segment in transcript] == list(range(len(transcript)))
    assert stream.transcript() == transcript


def test_a_detected_language_comes_with_its_probability(model: Model) -> None:
    audio = noise(2.0)
    transcript = model.transcribe(audio, **QUICK)
    probabilities = model.detect_language(audio)
    assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-5)  # a float32 softmax
    assert transcript.language == max(probabilities, key=probabilities.__getitem__)
    assert transcript.language_probability == probabilities[transcript.language]


def test_a_language_may_be_given_by_its_name(model: Model) -> None:
    audio = noise(2.0)
    by_name = model.transcribe(audio, language="German", **QUICK)
    assert by_name.language == "de"
    assert by_name == model.transcribe(audio, language="de", **QUICK)


def test_audio_shorter_than_a_frame_gives_an_empty_transcript(model: Model) -> None:
    transcript = model.transcribe(noise(0.005), language="en", **QUICK)
    assert (transcript.text, transcript.segments) == ("", ())


@pytest.mark.parametrize("language", [None, "en", "English"])
def test_an_english_only_model_writes_english(english_only: Model, language: str | None) -> None:
    assert not english_only.is_multilingual
    transcript = english_only.transcribe(noise(2.0), language=language, **QUICK)
    assert transcript.language == "en"
    assert transcript.language_probability is None
    assert transcript.text


def test_an_english_only_model_refuses_other_languages(english_only: Model) -> None:
    with pytest.raises(OptionError, match=r"knows English only, not 'de'\. Use a model without '\.en'"):
        english_only.transcribe(noise(2.0), language="German")
    with pytest.raises(OptionError, match="English only"):
        english_only.detect_language(noise(2.0))


def test_a_language_that_the_vocabulary_lacks_is_refused(model: Model) -> None:
    with pytest.raises(OptionError, match="'yue'"):  # Cantonese came with large-v3
        model.transcribe(noise(2.0), language="Cantonese")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_sise": 5}, "Did you mean beam_size"),
        ({"sample_len": "5"}, "sample_len is '5'; expected a whole number or None"),
        ({"suppress_tokens": "99999"}, "suppress_tokens names 99999"),
        ({"suppress_tokens": "a,b"}, "suppress_tokens is 'a,b'"),
        ({"prefix": [99_999]}, "token 99999"),
        ({"prefix": [-1]}, "token -1"),
        ({"prefix": [1000] * 500}, "no room"),
        ({"task": "summarise"}, "summarise"),
    ],
    ids=repr,
)
def test_a_wrong_option_is_refused_before_anything_is_decoded(
    model: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        model.segments(noise(2.0), **options)


def test_audio_that_cannot_be_read_is_refused_at_once(model: Model, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"missing\.wav"):
        model.segments(tmp_path / "missing.wav")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"engine": "onnx"}, OptionError, "No engine named 'onnx'. Known: .*onnxruntime"),
        ({"precision": "int3"}, EngineError, "No precision named 'int3'. Known: fp32"),
        ({"device": "abacus"}, EngineError, "not on 'abacus'"),
        ({"threads": -2}, EngineError, "-2 threads"),
        ({"revision": "main"}, HubError, "main"),
    ],
    ids=repr,
)
def test_a_model_cannot_be_loaded_with_wrong_arguments(
    checkpoint_path: Path, cache_dir: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stagewhisper.load(checkpoint_path, cache_dir=cache_dir, **arguments)


@pytest.mark.parametrize("name", ["basee", "", "./nowhere", "x" * 5000, "a\0b"])
def test_a_model_that_does_not_exist_is_named(name: str, cache_dir: Path) -> None:
    with pytest.raises(HubError):
        stagewhisper.load(name, offline=True, cache_dir=cache_dir)


def test_a_bundle_is_loaded_by_its_folder(checkpoint_path: Path, cache_dir: Path) -> None:
    bundle = compiled(load_checkpoint(checkpoint_path), cache_dir=cache_dir)
    of_bundle = stagewhisper.load(bundle.path)
    of_checkpoint = stagewhisper.load(str(checkpoint_path), cache_dir=cache_dir, precision="fp32", device="cpu")
    audio = noise(2.0)
    assert of_bundle.transcribe(audio, **QUICK) == of_checkpoint.transcribe(audio, **QUICK)


def test_a_bundle_is_refused_by_an_engine_that_reads_checkpoints(checkpoint_path: Path, cache_dir: Path) -> None:
    bundle = compiled(load_checkpoint(checkpoint_path), cache_dir=cache_dir)
    with pytest.raises(EngineError, match=r"compiled for ONNX Runtime.*Give the engine 'reference' the checkpoint"):
        stagewhisper.load(bundle.path, engine="reference")


def test_a_damaged_bundle_that_was_named_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="Compile it again"):
        stagewhisper.load(tmp_path)


def test_a_model_without_windows_of_30_seconds_is_refused(tmp_path: Path) -> None:
    path = save_openai(tmp_path / "short.pt", random_dims(n_audio_ctx=750, n_audio_layer=1, n_text_layer=1))
    with pytest.raises(ModelError, match=r"n_audio_ctx is 750; Whisper's is 1500"):
        stagewhisper.load(path, engine="reference", cache_dir=tmp_path)


def test_one_line_transcribes(checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setattr("stagewhisper.compiler.compile.default_cache_dir", lambda: cache_dir)
    audio = noise(2.0)
    found = stagewhisper.transcribe(audio, model=checkpoint_path, language="de", **QUICK)
    model = stagewhisper.load(checkpoint_path, cache_dir=cache_dir)
    assert found == model.transcribe(audio, language="de", **QUICK)
