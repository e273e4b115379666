import numpy as np
import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import EngineError
from tests.training.voices_here import needs_espeak
from training import espeak
from training.grammar import LANGUAGES
from training.sentences import is_reserved
from training.synthesise import speak_with_espeak
from training.voices import HELD_OUT_VARIANTS, TRAINED_VARIANTS

pytestmark = needs_espeak


@pytest.fixture(scope="module")
def speech() -> espeak.Speech:
    return espeak.speak("Turn on the light. Go, now.", voice="en-us+f3")


def test_words_and_phonemes_are_in_order_and_inside_the_clip(speech: espeak.Speech):
    for marks in (speech.words, speech.phonemes):
        times = [mark.time for mark in marks]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(speech.samples) / speech.sample_rate


def test_each_word_is_marked_where_it_begins_in_the_text(speech: espeak.Speech):
    assert {0, 5, 12, 19, 23} <= {word.position for word in speech.words}  # "on the" is one word to the English voice


def test_phonemes_have_names_without_stress_and_pauses_have_none(speech: espeak.Speech):
    names = [mark.text for mark in speech.phonemes]
    assert names[0] == "t"
    assert "" in names
    assert names[-1] == ""
    assert not any(set(name) & set("',%=|:;_!") for name in names)


def test_it_sounds_between_the_first_and_the_last_phoneme(speech: espeak.Speech):
    loud = [index for index, mark in enumerate(speech.phonemes) if mark.text]
    start, end = speech.phonemes[loud[0]].time, speech.phonemes[loud[-1] + 1].time
    seconds = np.arange(len(speech.samples)) / speech.sample_rate
    power = np.square(speech.samples.astype(np.float64))
    inside = (seconds >= start) & (seconds <= end + 0.05)  # the last phoneme dies away
    assert power[inside].mean() > 100 * power[~inside].mean()


def test_phonemes_can_be_had_without_speaking():
    assert espeak.phonemes("Seven, seven.", voice="en-us") == ["s", "E", "v", "@", "n"] * 2


def test_tempo_and_pitch_are_heard():
    slow, fast = (espeak.speak("Seven nine.", voice="en-us", words_per_minute=speed) for speed in (120, 220))
    assert len(slow.samples) > 1.3 * len(fast.samples)
    low, high = (espeak.speak("Seven nine.", voice="en-us", pitch=pitch) for pitch in (10, 90))
    assert not np.array_equal(low.samples, high.samples)


def test_an_unknown_voice_is_named():
    with pytest.raises(EngineError, match="no voice 'xx-nowhere'"):
        espeak.speak("Seven.", voice="xx-nowhere")


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(EngineError, match="apt-get install espeak-ng"):
        espeak._Library()


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_utterance_knows_its_words_and_phonemes_in_every_language(language: str):
    drawn = list(speak_with_espeak(np.random.default_rng(1), 20, [], languages=(language,)))
    assert len(drawn) == 20
    for about, samples in drawn:
        duration = len(samples) / 16_000
        assert about.language == language
        assert 0 <= about.start < about.end <= duration + 0.01
        beginnings = {0, *(index + 1 for index, letter in enumerate(about.text) if letter == " ")}
        words = [position for position, _ in about.word_times]
        assert len(set(words) & beginnings) >= len(beginnings) / 2  # short words are spoken with their neighbours
        assert all(0 <= time <= duration for _, time in about.word_times)
        named = [name for _, name in about.phoneme_times if name]
        assert tuple(named) == about.phonemes


@pytest.mark.parametrize(("held_out", "variants"), [(False, TRAINED_VARIANTS), (True, HELD_OUT_VARIANTS)])
def test_held_out_voices_say_reserved_sentences_and_the_others_do_not(held_out: bool, variants: tuple[str, ...]):
    for about, _ in speak_with_espeak(np.random.default_rng(2), 30, [], held_out=held_out):
        assert about.speaker.split("+")[1] in variants
        assert is_reserved(about.text) == held_out


def test_the_same_seed_says_the_same():
    # What the library said last changes the length of the next utterance's final pause: both follow the same.
    _, first, second = (list(speak_with_espeak(np.random.default_rng(3), 5, ["Free words."])) for _ in range(3))
    assert [about for about, _ in first] == [about for about, _ in second]
    # Breath and hiss come from the library's own random numbers, which go on; a new process begins anew.
    assert [len(samples) for _, samples in first] == [len(samples) for _, samples in second]
