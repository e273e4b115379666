import random

import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.made_up import noise, utterance
from training.grammar import LANGUAGES, draw
from training.grammar.prompts import plain
from training.vocabulary import N_TIMESTAMPS, N_VOCAB, CompactVocabulary, phoneme_ids_of, vocabulary_of


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(3)
    drawn = [draw(rng, (language,)) for language in LANGUAGES for _ in range(100)]
    return [text for one in drawn for text in (one.text, one.translation)]


@pytest.fixture(scope="module")
def vocabulary(texts: list[str]) -> CompactVocabulary:
    return vocabulary_of([utterance(text) for text in texts])


def test_each_row_is_one_token_and_back(vocabulary: CompactVocabulary):
    rows = range(vocabulary.n_used + 1 + N_TIMESTAMPS)
    tokens = [vocabulary.token(row) for row in rows]
    assert [row for row in rows if tokens[row] is None] == [vocabulary.n_used]
    known = [token for token in tokens if token is not None]
    assert len(set(known)) == len(known)
    assert [vocabulary.row(token) for token in known] == [row for row in rows if row != vocabulary.n_used]


def test_used_tokens_unused_tokens_and_timestamps_are_the_whole_vocabulary(vocabulary: CompactVocabulary):
    assert vocabulary.n_used + vocabulary.n_unused + N_TIMESTAMPS == N_VOCAB
    assert vocabulary.tokenizer.timestamp_begin + N_TIMESTAMPS == N_VOCAB


def test_the_rows_of_a_text_are_the_tokens_that_the_tokenizer_gives_it(texts: list[str], vocabulary: CompactVocabulary):
    for text in texts:
        for form in (text, plain(text)):
            tokens = [vocabulary.token(row) for row in vocabulary.rows(form)]
            assert tokens == vocabulary.tokenizer.encode(f" {form}"), form


def test_a_token_of_no_text_has_no_row(vocabulary: CompactVocabulary):
    with pytest.raises(KeyError):
        vocabulary.rows("defenestration")


def test_what_steers_the_decoder_is_always_there():
    vocabulary = CompactVocabulary([])
    own = vocabulary.tokenizer
    steering = [own.sot, own.eot, own.transcribe, own.translate, own.no_speech, own.no_timestamps, own.sot_prev]
    assert {vocabulary.token(vocabulary.row(token)) for token in steering} == set(steering)
    assert {vocabulary.token(vocabulary.language_row(code)) for code in LANGUAGES} == {
        own.languages[code] for code in LANGUAGES
    }


@pytest.mark.parametrize(("position", "time"), [(0, "<|0.00|>"), (1, "<|0.02|>"), (1500, "<|30.00|>")])
def test_a_timestamp_stands_for_a_position_of_a_fiftieth_of_a_second(position: int, time: str):
    vocabulary = CompactVocabulary([])
    token = vocabulary.token(vocabulary.timestamp_row(position))
    assert token is not None
    assert vocabulary.tokenizer.decode_with_timestamps([token]) == time


def test_a_timestamp_stays_within_the_window():
    vocabulary = CompactVocabulary([])
    assert vocabulary.timestamp_row(-1) == vocabulary.timestamp_row(0)
    assert vocabulary.timestamp_row(1501) == vocabulary.timestamp_row(1500)


def test_the_words_of_translations_have_rows():
    vocabulary = vocabulary_of([utterance("Siete.", language="es", translation="Seven.")])
    assert vocabulary.rows("seven Seven.")


def test_silence_is_the_phoneme_0_and_the_others_are_in_order():
    assert phoneme_ids_of([utterance("One two three four."), noise()]) == {"": 0, "a": 1, "b": 2, "t": 3}
