from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.made_up import english, noise, utterance
from training.batch import Batch, Window, batch_of
from training.corpus import Utterance
from training.grammar.prompts import plain
from training.kinds import N_POSITIONS, Kind
from training.vocabulary import IGNORED, CompactVocabulary, phoneme_ids_of, vocabulary_of
from training.windows import Windows

TEXTS = ("Seven.", "Turn on the light.", "Open the door.", "March twelfth, twenty ten.")
SINGLE, SHORT, WHOLE = Kind(3, 6, 1), Kind(4, 6, 3), Kind(30, 3, 14, whole=True)
FOREIGN = [
    utterance("Abre la puerta.", language="es", translation="Open the door."),
    utterance("Siete.", language="es", translation="Seven."),
]
CORPUS = [*english(TEXTS), *FOREIGN]
LONG = [*(utterance(text, padding=2) for text in TEXTS), noise()]
"""Of which fewer than fourteen fill a window."""


def windows(corpus: list[Utterance] = CORPUS, *, seed: int = 1) -> Windows:
    weights = {(one.about.language, "espeak"): 1.0 for one in corpus if one.about.source == "espeak"}
    return Windows(corpus, weights, vocabulary_of(corpus), phoneme_ids_of(corpus), seed=seed)


def drawn(kind: Kind, n: int, corpus: list[Utterance] = CORPUS) -> Iterator[tuple[Window, CompactVocabulary]]:
    source = windows(corpus)
    return ((source.window(kind), source.vocabulary) for _ in range(n))


def names(window: Window, vocabulary: CompactVocabulary) -> list[str]:
    """The window's tokens by name, timestamps and text apart."""
    tokens = [vocabulary.token(row) for row in window.script.tokens]
    return [vocabulary.tokenizer.decode_with_timestamps([token]) for token in tokens if token is not None]


def body(window: Window, vocabulary: CompactVocabulary) -> list[str]:
    """What the model should write behind the task."""
    all_names = names(window, vocabulary)
    begin = all_names.index("<|startoftranscript|>") + 3
    return [name for name in all_names[begin:] if name != "<|notimestamps|>"]


def text_of(pieces: list[str]) -> str:
    return "".join(piece for piece in pieces if not piece.startswith("<|")).strip()


def times_of(pieces: list[str]) -> list[int]:
    """Timestamps in positions."""
    return [round(float(piece[2:-2]) * 50) for piece in pieces if piece[2:3].isdigit()]


def test_the_same_seed_draws_the_same_windows():
    def tensors(seed: int) -> list[torch.Tensor]:
        source = windows(seed=seed)
        return [tensor for kind in (SINGLE, SHORT, WHOLE) for tensor in vars(source.batch(kind)).values()]

    assert all(torch.equal(a, b) for a, b in zip(tensors(1), tensors(1), strict=True))
    assert not torch.equal(tensors(1)[0], tensors(2)[0])


@pytest.mark.parametrize("kind", [SINGLE, SHORT, WHOLE])
def test_a_batch_has_the_shapes_that_the_model_wants(kind: Kind):
    batch: Batch = windows().batch(kind)
    n = kind.n_positions
    assert batch.mel.shape == (kind.batch, 80, 2 * n)
    assert batch.phonemes.shape == (kind.batch, n)
    assert batch.tokens.shape == batch.targets.shape == batch.focus.shape[:2]
    assert batch.focus.shape[2] == 2
    assert batch.ctc_targets.shape == (kind.batch, max(1, int(batch.ctc_lengths.max())))
    assert ((batch.offsets >= 0) & (batch.offsets + n <= N_POSITIONS)).all()
    assert batch.tokens.shape[1] <= 448


def test_the_mel_is_whispers_up_to_the_recordings_end_and_zero_behind_it():
    ends = set()
    for window, _ in drawn(SHORT, 40):
        (mel,) = batch_of([window], padding=0).mel
        heard, behind = mel[:, : 2 * window.n_heard], mel[:, 2 * window.n_heard :]
        assert mel.dtype == torch.float32
        assert heard.amax() - heard.amin() <= 2 + 1e-6  # within 8 of the loudest moment's log10 power
        np.testing.assert_allclose(float(heard.amax()), (window.spectrum.max() + 4) / 4, rtol=1e-6)
        assert not behind.any()
        ends.add(behind.shape[1] == 0)
    assert ends == {True, False}


def test_a_recording_does_not_end_within_an_utterance():
    for window, _ in drawn(SHORT, 100):
        heard = np.flatnonzero(window.phonemes)
        assert not len(heard) or heard[-1] < window.n_heard


@pytest.mark.parametrize("kind", [SINGLE, SHORT, WHOLE])
def test_a_target_is_the_token_that_follows(kind: Kind):
    for window, vocabulary in drawn(kind, 60):
        script = window.script
        assert len(script.tokens) == len(script.targets) == len(script.focus)
        sot = script.tokens.index(vocabulary.row(vocabulary.tokenizer.sot))
        for position, (_, following) in enumerate(pairwise(script.tokens)):
            if position != sot:
                assert script.targets[position] in (IGNORED, following)
        assert script.targets[:sot] == [IGNORED] * sot
        assert script.targets[-1] == vocabulary.row(vocabulary.tokenizer.eot)


def test_the_language_is_learnt_and_the_task_is_given():
    for window, vocabulary in drawn(SHORT, 60):
        sot = window.script.tokens.index(vocabulary.row(vocabulary.tokenizer.sot))
        language, task, *_ = window.script.tokens[sot + 1 :]
        assert language in (vocabulary.language_row("en"), vocabulary.language_row("es"))
        assert window.script.targets[sot] in (language, vocabulary.row(vocabulary.tokenizer.no_speech))
        assert window.script.targets[sot + 1] == IGNORED
        assert vocabulary.token(task) in (vocabulary.tokenizer.transcribe, vocabulary.tokenizer.translate)


def test_timestamps_are_positions_of_the_whole_thirty_seconds():
    stamped = 0
    for window, vocabulary in drawn(SINGLE, 60):
        times = times_of(body(window, vocabulary))
        heard = np.flatnonzero(window.phonemes)
        if len(times) < 2 or not len(heard):
            continue
        stamped += 1
        assert times == [window.offset + heard[0], window.offset + heard[-1] + 1]
    assert stamped > 15


def test_a_short_window_begins_anywhere_and_a_whole_one_at_zero():
    offsets = [window.offset for window, _ in drawn(SINGLE, 100)]
    assert min(offsets) < 300
    assert max(offsets) > N_POSITIONS - 450
    assert {window.offset for window, _ in drawn(WHOLE, 10)} == {0}


def test_the_focus_of_a_word_is_where_its_phoneme_is_heard():
    checked = 0
    for window, vocabulary in drawn(SINGLE, 60, english(["Seven nine four."])):
        if "<|translate|>" in names(window, vocabulary):
            continue
        heard = [np.flatnonzero(window.phonemes == row) for row in (1, 2, 3)]  # one phoneme for each word
        if not all(len(positions) for positions in heard):
            continue
        text = [
            (focus, target)
            for focus, target in zip(window.script.focus, window.script.targets, strict=True)
            if target != IGNORED and target < vocabulary.n_used and focus != (-1, -1)
        ]
        words = dict.fromkeys(focus for focus, _ in text)
        assert list(words) == [(positions[0] - 1, positions[-1] + 2) for positions in heard]
        checked += 1
    assert checked > 30


def test_silence_teaches_no_speech_and_then_nothing():
    corpus = [utterance("Seven.", padding=9), noise()]  # longer than the window, so never placed
    for window, vocabulary in drawn(SINGLE, 30, corpus):
        judged = [target for target in window.script.targets if target != IGNORED]
        own = vocabulary.tokenizer
        expected = [vocabulary.row(own.no_speech), vocabulary.row(own.eot)]
        if vocabulary.row(own.no_timestamps) not in window.script.tokens:
            expected.insert(1, vocabulary.timestamp_row(window.offset))
        assert judged == expected
        assert not window.phonemes.any()
        assert window.ctc == []


def test_every_word_said_is_written_in_order():
    checked = 0
    for window, vocabulary in drawn(WHOLE, 20, english(TEXTS)):
        if "<|startofprev|>" in names(window, vocabulary) or window.ctc is None:
            continue
        assert len(text_of(body(window, vocabulary)).split()) == len(window.ctc)  # one phoneme for each word
        checked += 1
    assert checked > 3


def test_a_plain_prompt_is_followed_by_plain_text_and_another_is_not():
    seen = set()
    for window, vocabulary in drawn(SHORT, 400):
        pieces = names(window, vocabulary)
        text = text_of(body(window, vocabulary))
        if not text:
            continue
        prompt = text_of(pieces[: pieces.index("<|startoftranscript|>")])
        is_plain = bool(prompt) and prompt == plain(prompt)
        assert (text == plain(text)) == is_plain, (prompt, text)
        seen.add((bool(prompt), is_plain))
    assert seen == {(False, False), (True, False), (True, True)}


def test_a_translation_is_english_and_has_the_utterances_place_for_every_word():
    seen = False
    for window, vocabulary in drawn(SINGLE, 200):
        text = text_of(body(window, vocabulary))
        if "<|translate|>" not in names(window, vocabulary) or not text:
            continue
        seen = True
        assert plain(text) in ("open the door", "seven")
        focus = {
            place
            for place, target in zip(window.script.focus, window.script.targets, strict=True)
            if 0 <= target < vocabulary.n_used and place != (-1, -1)
        }
        heard = np.flatnonzero(window.phonemes)
        assert focus == {(heard[0], heard[-1] + 1)}
    assert seen


def test_a_cut_utterance_has_its_start_and_no_text():
    seen = 0
    for window, vocabulary in drawn(WHOLE, 60, LONG):
        if window.ctc is None:
            *_, end, start = times_of(body(window, vocabulary))
            assert body(window, vocabulary)[-1].startswith("<|")
            assert body(window, vocabulary)[-2].startswith("<|")
            assert end < start < N_POSITIONS
            assert "<|notimestamps|>" not in names(window, vocabulary)
            seen += 1
    assert seen > 5


def test_labels_of_an_unknown_length_are_marked():
    batch = windows(LONG).batch(Kind(30, 30, 14, whole=True))
    assert (batch.ctc_lengths == -1).any()
    assert (batch.ctc_lengths > 0).any()


def test_phonemes_without_times_are_learnt_in_order_alone():
    corpus = [utterance("Seven nine.", timed=False), noise()]
    seen = False
    for window, _ in drawn(SINGLE, 20, corpus):
        if window.ctc:
            assert window.ctc == [1, 2]
            assert set(window.phonemes) == {0, IGNORED}
            seen = True
    assert seen


def test_some_windows_have_noise_behind_them_and_some_are_clean():
    quiet = [float(window.spectrum.min()) for window, _ in drawn(SINGLE, 60)]
    assert any(value == -10 for value in quiet)
    assert any(value > -10 for value in quiet)
