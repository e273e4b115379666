import io
import os
import signal
import subprocess
import sys
import time

import pytest

from stagewhisper.cli import main
from tests.cli.conftest import segment

# The program with a library that gives many segments, the last ones only after a while.
SLOW_PROGRAM = """
import sys, time, types
from tests.cli.conftest import FakeLibrary, FakeStream, segment
def segments():
    for number in range(20_000):
        if number == 10_000: time.sleep(float(sys.argv[1]))
        yield segment(number, number, number + 1, " line")
fake = FakeLibrary(segments=lambda: FakeStream(segments()))
sys.modules["stagewhisper.model"] = types.SimpleNamespace(load=fake.load)
from stagewhisper.cli import main
sys.exit(main(["pyproject.toml"]))
"""


def _start(pause, stdout=subprocess.PIPE):
    return subprocess.Popen([sys.executable, "-c", SLOW_PROGRAM, str(pause)], stdout=stdout, stderr=subprocess.PIPE)


def test_no_arguments_show_help_and_are_an_error(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: stagewhisper COMMAND")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["transcribe", "--help"], ["--model", "tiny", "--help"]])
def test_help_is_a_success(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("usage: stagewhisper ")


def test_the_way_without_a_command_is_told_in_the_help(capsys):
    main(["--help"])
    assert "The word `transcribe` may be left out" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["x.wav", "--modle", "tiny"], ["transcribe"], ["models"], ["models", "lst"]])
def test_wrong_options_are_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stagewhisper: error: ")
    assert captured.err.count("\n") == 1


def test_a_known_command_wins_over_a_file_of_its_name(recordings, capsys):
    (recordings / "models").touch()
    assert main(["models"]) == 2
    capsys.readouterr()
    assert main(["./models"]) == 0
    assert capsys.readouterr().out == "Hello.\nBye.\n"


def test_an_interruption_ends_quietly_with_130(library, recordings, capsys):
    library.contents["a.wav"] = [segment(0, 0, 1, " One."), KeyboardInterrupt()]
    assert main(["a.wav", "b.wav", "-f", "txt"]) == 130
    assert capsys.readouterr() == ("==> a.wav <==\nOne.\n", "")
    assert sorted(path.name for path in recordings.iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_an_interruption_by_signal_ends_quietly_with_130():
    process = _start(pause=30)
    assert process.stdout.readline() == b"line\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.skipif(os.name == "nt", reason="pipes as on POSIX")
def test_a_closed_standard_output_ends_the_program_quietly():
    process = _start(pause=0)
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 141
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_full_disk_under_standard_output_is_one_error_per_recording():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = _start(pause=0, stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert b"No space left" in err
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


@pytest.mark.skipif(os.name == "nt", reason="streams as on POSIX")
@pytest.mark.parametrize(("arguments", "closed", "code"), [("models list", ">&-", 0), ("none.wav", "2>&-", 2)])
def test_a_closed_stream_changes_nothing_else(arguments, closed, code):
    command = f'exec "$0" -m stagewhisper {arguments} {closed}'
    run = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (code, b"", b"")


def test_text_that_the_terminal_cannot_show_is_replaced(library, recordings, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    monkeypatch.setattr(sys, "stdout", out)
    library.segments = [segment(0, 0, 1, " Grüße")]
    assert main(["a.wav"]) == 0
    assert out.buffer.getvalue() == b"Gr??e\n"


def test_python_dash_m_is_the_same_program():
    run = subprocess.run(
        [sys.executable, "-m", "stagewhisper", "none.wav"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr.startswith("stagewhisper: error: 'none.wav' does not exist.")
