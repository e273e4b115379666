"""Who and what is kept for evaluation."""

import numpy as np
import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import DataSetError
from training.grammar import LANGUAGES
from training.sentences import draw_sentence, is_reserved, read_sentences
from training.splits import held_out_speakers
from training.voices import (
    ACCENTS,
    HELD_OUT_OTHER_VOICES,
    HELD_OUT_VARIANTS,
    TRAINED_OTHER_VOICES,
    TRAINED_VARIANTS,
    draw_manner,
)

CENSUS = [f"an4-{number:02d}" for number in range(74)]


def test_one_speaker_of_digits_and_every_eighth_of_the_census_are_held_out():
    speakers = [*reversed(CENSUS), "fsdd-jackson", "fsdd-theo", "voices-kathleen", "en-us+f3"]
    held_out = held_out_speakers(speakers)
    assert held_out == {"fsdd-jackson", *CENSUS[::8]}
    assert held_out_speakers([*speakers, *speakers]) == held_out


def test_no_voice_is_both_trained_on_and_held_out():
    assert not set(TRAINED_VARIANTS) & set(HELD_OUT_VARIANTS)
    assert not set(TRAINED_OTHER_VOICES) & set(HELD_OUT_OTHER_VOICES)
    assert len(set(TRAINED_VARIANTS)) == len(TRAINED_VARIANTS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("held_out", "variants"), [(False, TRAINED_VARIANTS), (True, HELD_OUT_VARIANTS)])
def test_manners_are_drawn_from_their_own_variants(language: str, held_out: bool, variants: tuple[str, ...]):
    rng = np.random.default_rng(1)
    manners = [draw_manner(rng, language, held_out=held_out) for _ in range(400)]
    accents, throats = zip(*(manner.voice.split("+") for manner in manners), strict=True)
    assert set(throats) <= set(variants)
    assert set(accents) == {accent for accent, _ in ACCENTS[language]}
    assert all(125 <= manner.words_per_minute < 215 and 5 <= manner.pitch <= 95 for manner in manners)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reserved", [False, True])
def test_reserved_sentences_are_drawn_for_evaluation_and_never_for_training(language: str, reserved: bool):
    rng = np.random.default_rng(2)
    sentences = [draw_sentence(rng, language, [], reserved=reserved) for _ in range(200)]
    assert {is_reserved(sentence.text) for sentence in sentences} == {reserved}
    assert all((sentence.translation is None) == (language == "en") for sentence in sentences)


def test_about_one_long_sentence_in_twenty_is_reserved_whatever_its_capitals():
    texts = [f"Turn on the light number {number}." for number in range(2000)]
    assert sum(map(is_reserved, texts)) / 2000 == pytest.approx(0.05, abs=0.015)
    assert [is_reserved(text) for text in texts] == [is_reserved(text.upper()) for text in texts]
    assert not is_reserved("Go.")


def test_free_sentences_are_english_and_one_in_twenty():
    rng = np.random.default_rng(3)
    english = [draw_sentence(rng, "en", ["A free one."]).text for _ in range(2000)]
    assert english.count("A free one.") / 2000 == pytest.approx(0.05, abs=0.015)
    assert all(draw_sentence(rng, "de", ["A free one."]).text != "A free one." for _ in range(200))


def test_free_sentences_are_the_readers_each_once(tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    lines = [
        '{"audio": "voices/2.flac", "text": "Two."}',
        '{"audio": "voices/1.flac", "text": "One."}',
        '{"audio": "voices/3.flac", "text": "One."}',
        '{"audio": "voices/4.flac", "text": ""}',
        '{"audio": "an4/1.flac", "text": "ENTER"}',
    ]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    assert read_sentences(manifest) == ["One.", "Two."]


def test_a_manifest_without_a_readers_sentences_is_refused(tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"audio": "an4/1.flac", "text": "ENTER"}', encoding="utf-8")
    with pytest.raises(DataSetError, match=r"has no sentence to read: none of its recordings lies in voices/"):
        read_sentences(manifest)
