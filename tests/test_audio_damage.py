"""Damaged, hostile and missing files: samples with a warning, or an AudioError; never anything else."""

import errno
import io
import socket
import struct
import time
import warnings
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stagewhisper.audio import SAMPLE_RATE, load_audio
from stagewhisper.errors import AudioError, AudioWarning
from tests.damaged_audio import KINDS, damaged_inputs
from tests.encoded_audio import CODECS, encode, tone

SECONDS = 2


def noisy(rate: int) -> np.ndarray:
    """A tone in noise: unlike silence or a pure tone, it compresses to files with room for damage."""
    noise = np.random.default_rng(3).normal(0, 0.03, rate * SECONDS)
    return tone(rate, SECONDS) + noise.astype(np.float32)


def headers_only() -> bytes:
    """A faultless WAV file of no samples."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
    return target.getvalue()


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("good")
    files = []
    for file_type, (_, _, rate) in CODECS.items():
        path = folder / f"good.{file_type}"
        path.write_bytes(encode(noisy(rate), file_type))
        files.append(path)
    return files


def test_any_damage_gives_samples_or_an_audio_error_in_time(
    good_files: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    n_decoded = 0
    for path in damaged_inputs(good_files, tmp_path, 8 * len(KINDS), seed=1):
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            try:
                samples = load_audio(path)
            except AudioError as error:
                assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
            else:
                n_decoded += 1
                assert np.isfinite(samples).all()
                assert 0 < len(samples) < 10 * SECONDS * SAMPLE_RATE
        assert time.perf_counter() - started < 5, path.name  # typically 10 ms; the machine may be busy
    assert n_decoded > 20
    assert capfd.readouterr().err == ""


def test_damage_is_the_same_for_the_same_seed(good_files: list[Path], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "again", "other")]
    for folder in folders:
        folder.mkdir()
    first, again, other = (
        [path.read_bytes() for path in damaged_inputs(good_files, folder, 42, seed=seed)]
        for folder, seed in zip(folders, (1, 1, 2), strict=True)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("file_type", ["wav", "flac", "mp3", "ogg", "webm", "aiff"])
def test_a_cut_file_gives_its_beginning_and_a_warning(good_files: list[Path], file_type: str) -> None:
    whole = next(path for path in good_files if path.suffix == f".{file_type}").read_bytes()
    with pytest.warns(AudioWarning, match="damaged: .*Fetch or convert it again"):
        samples = load_audio(whole[: int(0.7 * len(whole))])
    assert 0.3 * SECONDS < len(samples) / SAMPLE_RATE < 0.75 * SECONDS


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])  # MPEG-2.5, MPEG-2 and MPEG-1 have frames of their own
def test_an_mp3_file_that_states_no_length_is_called_damaged_when_cut_within_a_frame(rate: int) -> None:
    whole = encode(noisy(rate), "mp3", rate=rate).replace(b"Xing", b"----").replace(b"Info", b"----")
    for good in (whole, whole + b"TAG" + bytes(125), whole + b"APETAGEX" + bytes(100)):
        assert len(load_audio(good)) >= SECONDS * SAMPLE_RATE
    for bad in (whole[: len(whole) // 2], whole[:-20]):
        with pytest.warns(AudioWarning, match="ends before the place"):
            load_audio(bad)


def test_a_broken_frame_in_the_middle_is_skipped_and_told(good_files: list[Path]) -> None:
    flac = bytearray(good_files[1].read_bytes())
    middle = len(flac) // 2
    flac[middle : middle + 200] = bytes(200)
    with pytest.warns(AudioWarning, match="could be decoded"):
        samples = load_audio(flac)
    assert 0.7 < len(samples) / (SECONDS * SAMPLE_RATE) < 1


def test_samples_that_are_no_numbers_become_silence_with_a_warning() -> None:
    channels = noisy(SAMPLE_RATE)
    recording = bytearray(encode(channels, "wav", codec="pcm_f32le"))
    struct.pack_into("<f", recording, len(recording) - 4 * 1000, float("nan"))
    with pytest.warns(AudioWarning, match="1 broken packet"):
        samples = load_audio(recording)
    assert np.isfinite(samples).all()
    np.testing.assert_array_equal(samples[:20000], channels[:20000])


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_streamed_wav_that_does_not_know_its_size_is_not_called_damaged(size: int) -> None:
    recording = bytearray(encode(noisy(SAMPLE_RATE), "wav"))[:-600]
    struct.pack_into("<I", recording, recording.index(b"data") + 4, size)
    struct.pack_into("<I", recording, 4, size)
    assert len(load_audio(recording)) == SECONDS * SAMPLE_RATE - 300


def test_a_tag_behind_a_good_file_is_not_called_damage(good_files: list[Path]) -> None:
    for path in good_files:
        if path.suffix in {".mp3", ".ogg", ".wav"}:
            data = path.read_bytes()
            assert len(load_audio(data + b"TAG" + bytes(125))) == len(load_audio(data))


def test_all_stored_recordings_of_a_sample_load_in_full_without_a_warning(audio_dir: Path) -> None:
    for path in sorted(audio_dir.rglob("*"))[::150]:
        if path.suffix in {".wav", ".flac", ".mp3", ".opus", ".m4a"}:
            assert len(load_audio(path)) > 1000


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda folder: folder / "missing.wav", "There is no file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: "nul\0byte.wav", "cannot be opened"),
        (lambda folder: b"", "is empty"),
        (lambda folder: b"hello", "not a recording"),
        (lambda folder: io.StringIO("text"), "binary mode"),
        (lambda folder: "https://example.org/speech.mp3", "Download it"),
        (lambda folder: "file:///speech.mp3", "is an address"),
        (lambda folder: headers_only(), "Nothing in"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_remedy(
    make: Callable[[Path], str | Path | bytes | io.StringIO], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(AudioError, match=complaint):
        load_audio(make(tmp_path))


def test_an_unreadable_disk_is_an_audio_error() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 30_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    with pytest.raises(AudioError, match="Input/output error") as caught:
        load_audio(Failing(encode(noisy(SAMPLE_RATE), "wav")))
    assert isinstance(caught.value.__cause__, OSError)


def test_a_playlist_opens_no_other_file_and_no_connection(good_files: list[Path], tmp_path: Path) -> None:
    good = good_files[0]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/speech.wav"
        for i, target in enumerate([good.name, str(good), address, f"concat:{good}"]):
            for suffix in ("m3u8", "wav"):
                for text in (
                    f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
                    f"ffconcat version 1.0\nfile '{target}'\n",
                ):
                    playlist = good.parent / f"playlist{i}.{suffix}"
                    playlist.write_text(text)
                    with pytest.raises(AudioError, match="playlists are not followed"):
                        load_audio(playlist)
                    playlist.unlink()
        with pytest.raises(AudioError, match="only local files"):
            load_audio(address)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_session_description_opens_no_connection() -> None:
    sdp = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    with pytest.raises(AudioError, match="not a recording"):
        load_audio(sdp)


def test_a_header_that_announces_gigabytes_allocates_none() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for file_type, mark in [("wav", b"fmt "), ("wav", b"data"), ("flac", b"fLaC"), ("m4a", b"stsz"), ("m4a", b"stts")]:
        recording = bytearray(encode(noisy(SAMPLE_RATE), file_type))
        at = recording.index(mark) + 4
        for offset in range(at, at + 16, 4):
            patched = recording.copy()
            patched[offset : offset + 4] = b"\xff\xff\xff\x7f"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AudioWarning)
                try:
                    load_audio(patched)
                except AudioError:
                    continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
