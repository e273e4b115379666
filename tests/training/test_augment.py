import numpy as np
import pytest

from training.augment import FLOOR, Change, changed, draw_change, masked, with_noise

NOTHING = Change(tempo=1.0, throat=1.0, gain=0.0, colour=np.zeros(80, np.float32))


def spectrum(n_frames: int = 100) -> np.ndarray:
    return np.random.default_rng(n_frames).uniform(-4, 1, (n_frames, 80)).astype(np.float16)


def test_no_change_changes_nothing():
    before = spectrum()
    np.testing.assert_allclose(changed(before, NOTHING), before.astype(np.float32), atol=1e-5)  # interpolated in fp32


@pytest.mark.parametrize("tempo", [0.8, 0.93, 1.0, 1.07, 1.25])
@pytest.mark.parametrize("n_frames", [2, 36, 101])
def test_the_length_goes_with_the_tempo_and_ends_with_a_position(tempo: float, n_frames: int):
    change = Change(tempo, 1.0, 0.0, np.zeros(80, np.float32))
    after = changed(spectrum(n_frames), change)
    assert after.dtype == np.float32
    assert after.shape == (change.n_frames(n_frames), 80)
    assert len(after) % 2 == 0
    assert len(after) == pytest.approx(n_frames * tempo, abs=1.01)


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_a_moment_moves_with_the_tempo(tempo: float):
    before = np.full((200, 80), -8, np.float16)
    before[120] = 0
    after = changed(before, Change(tempo, 1.0, 0.0, np.zeros(80, np.float32)))
    assert after.max(1).argmax() == pytest.approx(120 * tempo, abs=1)


def test_a_shorter_throat_moves_a_formant_up():
    before = np.full((10, 80), -8, np.float16)
    before[:, 40] = 0
    peaks = [int(changed(before, Change(1.0, throat, 0.0, NOTHING.colour))[5].argmax()) for throat in (0.9, 1.0, 1.1)]
    assert peaks[0] < 40 == peaks[1] < peaks[2]


def test_gain_and_colour_add_to_the_power_down_to_the_floor():
    colour = np.linspace(-1, 1, 80, dtype=np.float32)
    before = spectrum()
    after = changed(before, Change(1.0, 1.0, -7.0, colour))
    np.testing.assert_allclose(after, np.maximum(before.astype(np.float32) - 7 + colour, FLOOR), atol=1e-5)
    assert after.min() == FLOOR


def test_draws_stay_within_what_a_listener_would_take_for_a_person():
    rng = np.random.default_rng(1)
    changes = [draw_change(rng) for _ in range(500)]
    assert 0.85 < min(change.tempo for change in changes) < 0.87
    assert 1.18 < max(change.tempo for change in changes) < 1.2
    assert 0.83 <= min(change.throat for change in changes) < 0.9
    assert 1.1 < max(change.throat for change in changes) <= 1.2
    assert all(-2.5 <= change.gain <= 0.7 for change in changes)
    assert all(change.colour.shape == (80,) and change.colour.dtype == np.float32 for change in changes)


def test_a_telephones_band_is_drawn_as_often_as_asked():
    rng = np.random.default_rng(2)
    narrow = [draw_change(rng, narrow=0.3).colour[-1] < -4 for _ in range(1000)]
    assert sum(narrow) / 1000 == pytest.approx(0.3, abs=0.05)
    assert not any(draw_change(rng, narrow=0).colour[-1] < -4 for _ in range(200))


def test_powers_of_two_sounds_add_up():
    speech, noise = np.array([[0.0, -3.0]], np.float32), np.array([[0.0, -1.0]], np.float32)
    expected = np.log10([[2.0, 0.101]])
    np.testing.assert_allclose(with_noise(speech, noise), expected, rtol=1e-5)
    assert with_noise(speech, noise).dtype == np.float32


def test_a_mask_hides_one_band_and_one_moment_and_leaves_the_rest():
    rng = np.random.default_rng(3)
    for _ in range(50):
        before = spectrum().astype(np.float32)
        after = masked(before, rng)
        hidden = after != before
        assert after.shape == before.shape
        assert hidden.all(0).sum() <= 11
        assert hidden.all(1).sum() <= 9
        assert np.unique(after[hidden]).size <= 1
