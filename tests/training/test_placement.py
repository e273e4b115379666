import numpy as np
import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import DataSetError
from tests.training.made_up import english, noise, utterance
from training.kinds import Kind
from training.placement import Placed, place
from training.pools import Pools, pools_of

TEXTS = ("Seven.", "Turn on the light.", "Open the door in the kitchen now please.")
SHORT, WHOLE = Kind(3, 1, 4), Kind(30, 1, 20, whole=True)


@pytest.fixture(scope="module")
def pools() -> Pools:
    return pools_of(english(TEXTS), {("en", "espeak"): 1.0})


@pytest.mark.parametrize("kind", [SHORT, WHOLE])
def test_utterances_follow_each_other_and_fit_their_window(kind: Kind, pools: Pools):
    rng = np.random.default_rng(1)
    windows = [place(rng, pools, kind, "en") for _ in range(300)]
    assert {len(placed) for placed in windows} >= {1, 2, 3}
    for placed in windows:
        ends = [0, *(item.last for item in placed)]
        assert all(item.first >= end for item, end in zip(placed, ends, strict=False))
        assert ends[-1] <= kind.n_positions


def test_only_the_last_utterance_of_a_whole_window_is_cut_and_by_its_end(pools: Pools):
    rng = np.random.default_rng(2)
    windows = [place(rng, pools, WHOLE, "en") for _ in range(100)]
    cut = [placed for placed in windows if placed[-1].is_cut]
    assert cut
    assert not any(item.is_cut for placed in windows for item in placed[:-1])
    for placed in cut:
        assert placed[-1].last == WHOLE.n_positions
        assert len(placed[-1].spectrum) < len(placed[-1].utterance.log_power) * placed[-1].tempo
    assert not any(item.is_cut for _ in range(100) for item in place(rng, pools, SHORT, "en"))


def test_an_utterance_that_fills_its_window_is_moved_to_the_beginning():
    long = utterance("one two three four five six seven.")  # 2.3 s, up to 2.8 s when slow
    pools = pools_of([long, noise()], {("en", "espeak"): 1.0})
    rng = np.random.default_rng(3)
    windows = [place(rng, pools, Kind(2.8, 1, 1), "en") for _ in range(100)]
    assert all(windows)
    assert any(placed[0].first == 0 for placed in windows)


def test_an_utterance_that_fits_no_window_is_given_up():
    pools = pools_of([utterance("Seven.", padding=9), noise()], {("en", "espeak"): 1.0})
    assert place(np.random.default_rng(4), pools, SHORT, "en") == []


def test_a_time_of_the_utterance_moves_with_its_place_and_its_tempo():
    said = utterance("Turn on the light.")
    placed = Placed(said, np.zeros((2 * len(said.log_power), 80), np.float32), first=100, tempo=2.0)
    assert placed.position(0.0) == 100
    assert placed.position(0.5) == 150
    assert placed.last == 100 + len(said.log_power)


def test_utterances_are_drawn_as_often_as_their_weights_say():
    spoken = [*english(TEXTS), utterance("Seven.", source="fsdd"), utterance("Siete.", language="es")]
    pools = pools_of(spoken, {("en", "espeak"): 0.5, ("en", "fsdd"): 0.25, ("es", "espeak"): 0.25})
    rng = np.random.default_rng(5)
    languages = [pools.draw_language(rng) for _ in range(2000)]
    sources = [pools.draw_source(rng, "en") for _ in range(2000)]
    assert languages.count("es") / 2000 == pytest.approx(0.25, abs=0.04)
    assert sources.count("fsdd") / 2000 == pytest.approx(1 / 3, abs=0.04)


def test_a_source_without_a_weight_is_never_drawn():
    pools = pools_of([*english(TEXTS), utterance("Seven.", source="fsdd")], {("en", "espeak"): 1.0})
    rng = np.random.default_rng(6)
    assert {pools.draw_source(rng, "en") for _ in range(50)} == {"espeak"}


def test_a_corpus_that_lacks_noise_or_speech_says_so():
    with pytest.raises(DataSetError, match="no noise"):
        pools_of([utterance("Seven.")], {("en", "espeak"): 1.0})
    with pytest.raises(DataSetError, match="no speech"):
        pools_of([utterance("Seven.", source="fsdd"), noise()], {("en", "espeak"): 1.0})
