import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.training.recorded_folder import write_recordings

MAKE_NANO = Path(__file__).parents[2] / "training" / "make_nano"

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("bash", "xargs"))), reason="the script needs bash and xargs")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a `python` and a `stagewhisper` that only note how they were called."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("python", "stagewhisper"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n', encoding="utf-8")
        program.chmod(0o755)
    return folder


def call(programs: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PROCESSES": "1"}
    return subprocess.run([MAKE_NANO, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_every_step_is_taken_in_order(programs: Path, tmp_path: Path):
    audio = write_recordings(tmp_path / "audio")
    assert call(programs, audio, tmp_path / "work").stderr == ""
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    steps = [line.split()[2] if line.startswith("python") else "evaluate" for line in calls]
    assert steps == [
        *["training.synthesise"] * 13, "training.recordings", "training.evaluation_sets",
        "training.train", "training.train", "training.single_words", "training.train", "training.export", "evaluate",
        "training.train", "training.export", "evaluate",
    ]  # fmt: skip
    assert all("--sentences" in line for line in calls[:13])
    assert len(set(calls)) == len(calls)
    assert "--all-speakers" in calls[21]
    assert not any("--all-speakers" in line for line in calls[:21])


def test_a_second_call_does_not_make_again_what_is_there(programs: Path, tmp_path: Path):
    audio = write_recordings(tmp_path / "audio")
    corpus = tmp_path / "work" / "corpus"
    corpus.mkdir(parents=True)
    for name in ("espeak-all-3", "flite-awb-0", "noise"):
        (corpus / f"{name}.jsonl").touch()
    assert call(programs, audio, tmp_path / "work").returncode == 0
    calls = (tmp_path / "calls").read_text(encoding="utf-8")
    assert calls.count("training.synthesise") == 11
    assert "--part 3 " not in calls
    assert "training.recordings" not in calls


def test_a_step_that_fails_is_the_last_one(programs: Path, tmp_path: Path):
    (programs / "python").write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    audio = write_recordings(tmp_path / "audio")
    assert call(programs, audio, tmp_path / "work").returncode != 0
    assert not (tmp_path / "calls").exists()


def test_a_wrong_call_says_how_it_is_meant(programs: Path, tmp_path: Path):
    result = call(programs, tmp_path)
    assert result.returncode == 2
    assert "training/make_nano AUDIO_FOLDER WORK_FOLDER" in result.stderr
