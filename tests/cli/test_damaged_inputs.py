"""Damaged recordings among good ones: the program goes on, says what it refused, and leaves nothing half-done."""

from pathlib import Path

import numpy as np

from stagewhisper.audio import load_audio
from tests.damaged_audio import KINDS, damaged_inputs
from tests.damaged_calls import faults, outcome, transcribe, transcript_path
from tests.encoded_audio import encode
from tests.sample import SAMPLE


def test_good_recordings_are_done_and_bad_ones_reported_in_one_call(tmp_path: Path, cache_dir: Path) -> None:
    good = _good_recordings(tmp_path)
    damaged = damaged_inputs(good, tmp_path, len(KINDS), seed=2)
    alone = transcribe(good, tmp_path / "alone", cache_dir=cache_dir, time_limit=60)
    assert (alone.code, alone.messages) == (0, ())
    expected = {path: transcript_path(alone, path).read_bytes() for path in good}
    middle = len(damaged) // 2
    recordings = [good[0], *damaged[:middle], good[1], *damaged[middle:], good[2]]
    call = transcribe(recordings, tmp_path / "mixed", cache_dir=cache_dir, time_limit=120)
    assert faults(call, expected=expected) == []
    assert call.code == 2
    assert {outcome(call, path) for path in damaged} == {"refused", "done", "done, warned"}


def _good_recordings(folder: Path) -> list[Path]:
    samples = np.asarray(load_audio(SAMPLE))
    paths = [folder / f"good-{file_type}.{file_type}" for file_type in ("wav", "flac", "mp3")]
    for path in paths:
        path.write_bytes(encode(samples, path.suffix[1:]))
    return paths
