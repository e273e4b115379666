from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.made_up import PAUSE, WORD, utterance
from tests.training.small_nano import small_nano, small_vocabulary
from training import single_words
from training.corpus import read_corpus, writing_corpus
from training.single_words import Span, align, cuts

PHONEME_IDS = {"a": 1, "b": 2, "t": 3}


def heard(labels: list[int], *, certainty: float = 0.9) -> np.ndarray:
    """Log probabilities that name one of four labels at each position."""
    probabilities = np.full((len(labels), 4), (1 - certainty) / 3, np.float32)
    probabilities[np.arange(len(labels)), labels] = certainty
    return np.log(probabilities)


def limits(spans: list[Span]) -> list[tuple[int, int]]:
    return [(span.first, span.last) for span in spans]


def test_words_lie_where_their_phonemes_are_heard():
    spans = align(heard([0, 0, 1, 1, 2, 0, 0, 3, 3, 1, 0]), [[1, 2], [3, 1]])
    assert limits(spans) == [(2, 5), (7, 10)]
    assert [span.score for span in spans] == pytest.approx([np.log(0.9)] * 2, rel=1e-5)


def test_words_may_follow_without_silence():
    assert limits(align(heard([1, 2, 2, 3]), [[1], [2], [3]])) == [(0, 1), (1, 3), (3, 4)]


def test_the_same_phoneme_twice_has_silence_between():
    assert limits(align(heard([1, 1, 0, 1, 1]), [[1], [1]])) == [(0, 2), (3, 5)]


def test_a_phoneme_that_nobody_hears_takes_one_position_and_costs():
    spans = align(heard([0, 1, 1, 0, 0]), [[1, 2]])
    assert limits(spans)[0][0] == 1
    assert spans[0].score < np.log(0.9)


def test_more_phonemes_than_positions_find_no_good_place():
    assert all(span.last <= 3 for span in align(heard([1, 2, 3]), [[1, 2, 3], [1, 2]]))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities that name the phonemes of `utterance` at its own times."""

    def probabilities(_: object, log_power: np.ndarray) -> np.ndarray:
        labels = np.zeros(len(log_power) // 2, np.int64)
        per_word = round(WORD * 50)
        for index in range(3):
            first = round(PAUSE * 50) + index * per_word
            labels[first : first + per_word] = index + 1
        return heard(list(labels))

    monkeypatch.setattr(single_words, "phoneme_probabilities", probabilities)


SAID = {"Five": "a", "B": "b", "zero": "t", "table": "t"}


@pytest.mark.usefixtures("planted")
def test_digits_are_cut_out_and_letters_are_not():
    model = small_nano(small_vocabulary())
    recording = utterance("Five B zero.", source="an4", speaker="an4-x", timed=False, padding=0.3)
    found = list(cuts(recording, model, SAID, PHONEME_IDS))
    assert [about.text for about, _ in found] == ["Five.", "Zero."]
    assert {(about.speaker, about.source, about.language) for about, _ in found} == {("an4-x", "an4-words", "en")}
    assert [about.phonemes for about, _ in found] == [("a",), ("t",)]
    first = recording.log_power[: 2 * round((PAUSE + WORD) * 50)]  # as much silence as there is, and not the next word
    np.testing.assert_array_equal(found[0][1], first)
    assert len(found[1][1]) == 2 * (round(WORD * 50) + 5)  # nothing of the word before, 0.1 s of the silence after
    assert found[0][0].start == pytest.approx(PAUSE, abs=0.03)


@pytest.mark.usefixtures("planted")
def test_a_recording_without_digits_and_commands_gives_nothing():
    recording = utterance("table B.", source="an4")
    assert list(cuts(recording, small_nano(small_vocabulary()), SAID, PHONEME_IDS)) == []


@pytest.mark.usefixtures("planted")
def test_a_word_that_is_not_heard_where_it_should_be_is_left_out():
    recording = utterance("Five B zero.", source="an4")
    wrong = {**SAID, "Five": "t"}
    texts = [about.text for about, _ in cuts(recording, small_nano(small_vocabulary()), wrong, PHONEME_IDS)]
    assert "Five." not in texts


def test_a_models_probabilities_are_those_of_its_frame_by_frame_head():
    model = small_nano(small_vocabulary())
    quiet = utterance("Five B zero.").log_power
    found = single_words.phoneme_probabilities(model, quiet)
    assert found.shape == (len(quiet) // 2, 7)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    louder = single_words.phoneme_probabilities(model, (quiet.astype(np.float32) + 1).astype(np.float16))
    assert not np.allclose(found, louder)
    with torch.no_grad():
        model.phoneme_head.bias[3] += 50
    assert (single_words.phoneme_probabilities(model, quiet).argmax(1) == 3).all()


def test_what_is_added_as_log_power_is_read_back(tmp_path: Path):
    given = utterance("Five.", source="an4-words", timed=False)
    with writing_corpus(tmp_path, "an4-words") as corpus:
        corpus.add_log_power(given.about, given.log_power)
    (back,) = read_corpus(tmp_path, ["an4-words"])
    assert back.about == given.about
    np.testing.assert_array_equal(back.log_power, given.log_power)
