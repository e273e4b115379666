import numpy as np
import pytest

from stagewhisper.benchmarking import Recording, Workload
from stagewhisper.benchmarking.texts import recording_tokens
from stagewhisper.benchmarking.windows import N_SAMPLES, read_windows, write_windows
from stagewhisper.benchmarking.workloads import long_clip, utterances


@pytest.fixture
def recordings():
    """Two and a bit windows of ones, a short one of twos, one window of threes."""
    lengths = {1: 2 * N_SAMPLES + 5, 2: 7, 3: N_SAMPLES}
    return [np.full(length, value, np.float32) for value, length in lengths.items()]


def test_windows_are_cut_at_30_s_and_filled_up_with_zeros(recordings, tmp_path):
    write_windows(tmp_path, recordings, ["en", "de", "en"])
    windows = read_windows(tmp_path)
    assert len(windows) == 5
    assert [int(windows.window(index).sum()) for index in range(5)] == [N_SAMPLES, N_SAMPLES, 5, 14, 3 * N_SAMPLES]
    assert windows.window(2).shape == (N_SAMPLES,)


def test_a_batch_is_of_one_language_and_every_window_is_in_one(recordings, tmp_path):
    windows = write_windows(tmp_path, recordings, ["en", "de", "en"])
    assert list(windows.batches(3)) == [("en", (0, 1, 2)), ("en", (4,)), ("de", (3,))]
    assert [len(members) for _, members in windows.batches(1)] == [1] * 5


def test_tokens_of_windows_come_together_by_recording(recordings, tmp_path):
    windows = write_windows(tmp_path, recordings, ["en", "de", "en"])
    workload = Workload("w", tuple(Recording(samples, "en") for samples in recordings))
    assert recording_tokens(workload, windows, [[1], [2], [3], [4], [5]]) == [[1, 2, 3], [4], [5]]


def test_made_audio_has_the_length_asked_for_and_is_the_same_every_time():
    long = long_clip(31.5)
    assert (long.duration, long.has_texts, len(long.recordings)) == (31.5, False, 1)
    assert long.digest() == long_clip(31.5).digest() != long_clip(31.0).digest()
    short = utterances(3)
    assert [recording.text for recording in short.recordings] == ["Seven."] * 3
    assert len({recording.samples.tobytes() for recording in short.recordings}) == 3
