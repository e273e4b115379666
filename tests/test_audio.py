"""Every kind of source becomes the same mono float32 samples at 16 kHz."""

import array
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from stagewhisper.audio import SAMPLE_RATE, audio_blocks, load_audio
from stagewhisper.errors import AudioError, OptionError
from tests.encoded_audio import CODECS, encode, encode_video_only, tone

TONE = tone(SAMPLE_RATE, 1.0)
FLAC = encode(TONE, "flac")
SURROUND = ("FL", "FR", "FC", "LFE", "BL", "BR")


class Pipe(io.RawIOBase):
    """A stream that only goes forward, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "array.array[int]") -> int:
        chunk = self._data.read(min(len(buffer), 1000))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@pytest.mark.parametrize("file_type", sorted(CODECS))
def test_every_container_gives_the_whole_recording(file_type: str) -> None:
    rate = CODECS[file_type][2]
    samples = load_audio(encode(tone(rate, 2.0), file_type))
    assert samples.dtype == np.float32
    assert samples.flags["C_CONTIGUOUS"]
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=0.12 * SAMPLE_RATE)  # AAC pads by two frames
    assert np.std(samples[8000:24000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)  # LAME turns the level down by 5 %


def test_lossless_recordings_at_16_khz_come_back_sample_for_sample() -> None:
    np.testing.assert_allclose(load_audio(FLAC), TONE, rtol=0, atol=2**-15)  # 16-bit rounding


def test_path_text_bytes_and_file_objects_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tone.flac"
    path.write_bytes(FLAC)
    expected = load_audio(path)
    for source in (str(path), FLAC, bytearray(FLAC), memoryview(FLAC), io.BytesIO(FLAC), Pipe(FLAC)):
        np.testing.assert_array_equal(load_audio(source), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)


def test_a_file_object_is_read_from_where_it_stands_and_stays_open() -> None:
    file = io.BytesIO(b"a header of another kind" + FLAC)
    file.seek(len(b"a header of another kind"))
    np.testing.assert_array_equal(load_audio(file), load_audio(FLAC))
    assert not file.closed


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(FLAC,))
    writer.start()
    samples = load_audio(path)
    writer.join()
    np.testing.assert_array_equal(samples, load_audio(FLAC))


def test_blocks_are_short_and_join_to_the_recording() -> None:
    recording = encode(tone(44100, 5.0), "flac", rate=44100)
    blocks = list(audio_blocks(recording))
    assert len(blocks) > 3
    assert max(map(len, blocks)) < 2 * SAMPLE_RATE
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(recording))


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_resampling_keeps_length_frequency_level_and_phase(rate: int) -> None:
    seconds = 2.5
    samples = load_audio(tone(rate, seconds), sample_rate=rate)
    assert abs(len(samples) - seconds * SAMPLE_RATE) <= 1
    inner = slice(1000, 39000)  # the filter rings at both ends
    np.testing.assert_allclose(samples[inner], tone(SAMPLE_RATE, seconds)[inner], rtol=0, atol=1e-4)  # 20-bit filter


def test_resampling_removes_what_16_khz_cannot_hold() -> None:
    samples = load_audio(tone(48000, 1.0, frequency=12000), sample_rate=48000)
    assert np.abs(samples[1000:-1000]).max() < 1e-4


def test_a_file_and_its_samples_are_resampled_alike() -> None:
    stereo_rate = tone(48000, 1.0)
    from_file = load_audio(encode(stereo_rate, "flac", rate=48000))
    from_array = load_audio(stereo_rate, sample_rate=48000)
    np.testing.assert_allclose(from_file, from_array, rtol=0, atol=2**-14)  # 16-bit rounding


def test_a_rate_that_changes_midway_is_followed() -> None:
    recording = encode(tone(16000, 1.0), "aac") + encode(tone(44100, 1.0), "aac", rate=44100)
    samples = load_audio(recording)
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=4000)  # AAC pads each part to whole frames
    spectrum = np.abs(np.fft.rfft(samples[-12000:-4000]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)  # 2 Hz per bin


def test_stereo_is_averaged() -> None:
    stereo = np.stack([TONE, np.zeros_like(TONE)])
    samples = load_audio(encode(stereo, "wav", layout="stereo"))
    np.testing.assert_allclose(samples, TONE / 2, rtol=0, atol=2**-15)


@pytest.mark.parametrize("name", SURROUND)
def test_surround_channels_count_as_ffmpeg_weights_them(name: str) -> None:
    weights = {"FL": 0.5**0.5, "FR": 0.5**0.5, "FC": 1.0, "LFE": 0.0, "BL": 0.5, "BR": 0.5}
    channels = np.zeros((6, len(TONE)), dtype=np.float32)
    channels[SURROUND.index(name)] = TONE
    samples = load_audio(encode(channels, "flac", layout="5.1"))
    expected = TONE * (weights[name] / sum(weights.values()))
    np.testing.assert_allclose(samples, expected, rtol=0, atol=2**-15)


@pytest.mark.parametrize(
    ("file_type", "rate", "layout", "share"),
    [
        ("m4a", 16000, "7.1", 1 / (1 + 2 * 0.5**0.5 + 4 * 0.5)),
        ("ogg", 48000, "7.1", 1 / (1 + 2 * 0.5**0.5 + 4 * 0.5)),
        ("m4a", 16000, "hexadecagonal", 1 / 16),
        ("wav", 16000, "hexadecagonal", 1 / 16),  # which has no names for ffmpeg's weights
    ],
)
def test_eight_channels_and_more_are_read_without_foreign_memory(
    file_type: str, rate: int, layout: str, share: float
) -> None:
    n_channels = av.AudioLayout(layout).nb_channels
    quiet = np.zeros((n_channels, rate))
    quiet[2] = tone(rate, 1)  # the centre, which all encoders keep apart
    try:
        encoded = encode(quiet, file_type, layout=layout)
    except av.error.ArgumentError:
        pytest.skip(f"this build of ffmpeg encodes no {layout} {file_type}")
    samples = load_audio(encoded)
    middle, expected = samples[2000:14000], tone(SAMPLE_RATE, 1)[2000:14000]
    # One percent for the lossy codecs, which are 0.3 % off here.
    assert middle @ expected / (expected @ expected) == pytest.approx(share, rel=0.01)


def test_mixing_down_equals_ffmpegs_own() -> None:
    rng = np.random.default_rng(5)
    channels = rng.uniform(-0.9, 0.9, (6, 4000)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray((channels * 32767).astype(np.int16), "s16p", "5.1")
    frame.sample_rate = SAMPLE_RATE
    ours = load_audio(encode(channels, "flac", layout="5.1"))
    theirs = av.AudioResampler("s16", "mono", SAMPLE_RATE).resample(frame)[0].to_ndarray()[0] / 32768
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)  # ffmpeg mixes 16-bit numbers, rounding each


def test_sound_is_taken_from_a_video() -> None:
    samples = load_audio(encode(TONE, "mkv", with_video=True))
    np.testing.assert_allclose(samples, TONE, rtol=0, atol=2**-15)


def test_the_stream_marked_as_default_is_taken() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as container:
        quiet, marked = (container.add_stream("flac", rate=SAMPLE_RATE, layout="mono") for _ in range(2))
        quiet.disposition, marked.disposition = av.stream.Disposition.comment, av.stream.Disposition.default
        for stream, level in [(quiet, 1000), (marked, 8000)]:
            frame = av.AudioFrame.from_ndarray(np.full((1, 4096), level, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, 0
            container.mux([*stream.encode(frame), *stream.encode(None)])
    np.testing.assert_array_equal(load_audio(target.getvalue()), np.float32(8000 / 2**15))


def test_a_video_without_sound_is_refused() -> None:
    with pytest.raises(AudioError, match="no audio stream; it holds video"):
        load_audio(encode_video_only())


@pytest.mark.parametrize(
    ("dtype", "full_scale", "offset"),
    [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 2**7), (">i2", 2**15, 0)],
)
def test_integer_arrays_are_scaled_to_one(dtype: str, full_scale: int, offset: int) -> None:
    whole = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    np.testing.assert_array_equal(load_audio((whole * full_scale + offset).astype(dtype)), whole.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float_arrays_and_tensors_are_taken_as_they_are(dtype: str) -> None:
    samples = TONE.astype(dtype)
    np.testing.assert_array_equal(load_audio(samples), samples.astype(np.float32))
    np.testing.assert_array_equal(load_audio(torch.from_numpy(samples)), samples.astype(np.float32))


def test_two_axes_are_channels_and_samples() -> None:
    channels = np.stack([TONE, 3 * TONE])
    np.testing.assert_allclose(load_audio(channels), 2 * TONE, rtol=1e-6)  # float32 arithmetic
    with pytest.raises(AudioError, match=r"shape \(16000, 2\).*Transpose"):
        load_audio(channels.T)


def test_an_array_is_not_changed_and_not_shared() -> None:
    original = TONE.copy()
    load_audio(original)[:] = 0
    np.testing.assert_array_equal(original, TONE)


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.zeros((2, 0), np.float32), "empty"),
        (np.zeros((2, 2, 2), np.float32), "shape"),
        (np.float32(1).reshape(()), "shape"),
        (np.zeros((100, 1000), np.float32), "shape"),
        (np.zeros(100, np.complex64), "complex64"),
        (np.zeros(100, np.int64), "int64"),
        (np.zeros(100, np.bool_), "bool"),
        (np.array(["a", "b"]), "<U1"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, -np.inf]), "NaN"),
        (np.array([0.0, 1e300]), "loud"),
    ],
)
def test_arrays_that_are_no_recording_are_refused(samples: np.ndarray, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint):
        load_audio(samples)


def test_a_tensor_that_numpy_cannot_read_is_refused() -> None:
    with pytest.raises(AudioError, match="Tensor cannot be read as samples"):
        load_audio(torch.zeros(100, requires_grad=True))


@pytest.mark.parametrize("rate", [-1, 0, 7999, 192001])
def test_impossible_sample_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="8,000 to 192,000"):
        load_audio(TONE, sample_rate=rate)


def test_a_file_with_an_impossible_sample_rate_is_refused() -> None:
    with pytest.raises(AudioError, match="4000 Hz"):
        load_audio(encode(tone(4000, 1.0), "wav", rate=4000))


def test_a_sample_rate_for_a_file_is_refused() -> None:
    with pytest.raises(OptionError, match="Leave it out"):
        load_audio(FLAC, sample_rate=16000)


def test_importing_the_package_does_not_load_the_decoder() -> None:
    code = "import sys, stagewhisper; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
