import errno
import io
import json
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from stagewhisper.cli import main
from stagewhisper.cli.progress import ProgressBar
from stagewhisper.errors import AudioError, AudioWarning, HubError, OptionError
from tests.cli.conftest import FakeStream, segment


def _run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def _files(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def test_text_is_printed_one_segment_per_line_and_no_file_is_written(recordings, capsys):
    assert _run(capsys, "transcribe", "a.wav") == (0, "Hello.\nBye.\n", "")
    assert _files() == ["a.wav", "b.wav"]


def test_the_word_transcribe_may_be_left_out_wherever_the_file_stands(recordings, capsys):
    assert _run(capsys, "a.wav", "--model", "tiny")[:2] == (0, "Hello.\nBye.\n")
    assert _run(capsys, "--model", "tiny", "a.wav")[:2] == (0, "Hello.\nBye.\n")


def test_verbose_lines_are_openai_whispers(recordings, capsys):
    out = _run(capsys, "a.wav", "--verbose", "True")[1]
    assert out == "[00:00.000 --> 00:02.000]  Hello.\n[00:02.000 --> 00:03.500]  Bye.\n"


def test_verbose_false_leaves_standard_output_empty(recordings, capsys):
    assert _run(capsys, "a.wav", "b.wav", "--verbose", "False") == (0, "", "")


def test_several_recordings_have_headings_as_head_prints_them(recordings, capsys):
    out = _run(capsys, "a.wav", "b.wav")[1]
    assert out == "==> a.wav <==\nHello.\nBye.\n\n==> b.wav <==\nHello.\nBye.\n"


def test_a_line_is_printed_before_the_next_segment_is_decoded(library, recordings, capsys):
    seen = []

    def segments():
        yield segment(0, 0, 1, " One.")
        seen.append(capsys.readouterr().out)

    library.segments = lambda: FakeStream(segments())
    _run(capsys, "a.wav")
    assert seen == ["One.\n"]


def test_a_format_alone_writes_into_the_current_folder(recordings, capsys):
    assert _run(capsys, "a.wav", "-f", "srt,json")[0] == 0
    assert _files() == ["a.json", "a.srt", "a.wav", "b.wav"]
    assert json.loads(Path("a.json").read_text())["text"] == " Hello. Bye."


def test_a_folder_alone_is_made_and_gets_every_format(recordings, capsys):
    assert _run(capsys, "a.wav", "--output_dir", "new/deep")[0] == 0
    assert _files("new/deep") == ["a.json", "a.lrc", "a.srt", "a.tsv", "a.txt", "a.vtt"]


def test_a_folder_that_cannot_be_made_is_an_error_before_decoding(library, recordings, capsys):
    code, out, err = _run(capsys, "a.wav", "-o", "b.wav/x")
    assert (code, out, library.calls) == (2, "", [])
    assert "Cannot make the folder 'b.wav/x'" in err


def test_a_folder_that_takes_no_files_is_an_error_before_the_model_is_loaded(library, recordings, capsys, monkeypatch):
    def refuse(dir):  # noqa: A002
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    code, out, err = _run(capsys, "a.wav", "-o", "out")
    assert (code, out, library.loads) == (2, "", [])
    assert err.startswith("stagewhisper: error: Cannot write to the folder 'out': Permission denied. Choose another")


def test_two_recordings_with_one_output_are_refused_before_the_model_is_loaded(library, recordings, capsys):
    Path("a.mp3").touch()
    code, out, err = _run(capsys, "a.wav", "a.mp3", "-f", "srt")
    assert (code, out, library.loads) == (2, "", [])
    assert "'a.wav' and 'a.mp3' would both be written to 'a.srt'" in err


def test_a_failed_recording_is_reported_and_the_rest_is_done(library, recordings, capsys):
    library.contents["a.wav"] = AudioError("'a.wav' is empty. Record it again.")
    code, out, err = _run(capsys, "a.wav", "b.wav", "-f", "txt")
    assert (code, out) == (2, "==> b.wav <==\nHello.\nBye.\n")
    assert err == "stagewhisper: error: 'a.wav' is empty. Record it again.\n"
    assert not Path("a.txt").exists()
    assert Path("b.txt").read_text() == "Hello.\nBye.\n"


def test_what_nobody_expected_is_one_line_with_its_type_and_the_rest_is_done(library, recordings, capsys):
    library.contents["a.wav"] = [segment(0, 0, 1, " One."), RuntimeError("odd\nthing")]
    code, out, err = _run(capsys, "a.wav", "b.wav", "-f", "txt")
    assert (code, out) == (2, "==> a.wav <==\nOne.\n\n==> b.wav <==\nHello.\nBye.\n")
    assert err == "stagewhisper: error: a.wav: RuntimeError: odd thing\n"
    assert not Path("a.txt").exists()


def test_debug_shows_the_traceback_of_a_failed_recording(library, recordings, capsys):
    library.contents["a.wav"] = RuntimeError("odd")
    assert "Traceback" in _run(capsys, "a.wav", "--debug")[2]


def test_missing_recordings_are_reported_and_the_rest_is_done(library, recordings, capsys):
    code, out, err = _run(capsys, "none.wav", "a.wav", "*.flac")
    assert (code, out) == (2, "==> a.wav <==\nHello.\nBye.\n")
    assert [line.split(". ")[0] for line in err.splitlines()] == [
        "stagewhisper: error: 'none.wav' does not exist",
        "stagewhisper: error: No file matches '*.flac'",
    ]


def test_no_model_is_loaded_when_no_recording_is_there(library, capsys):
    assert _run(capsys, "none.wav")[0] == 2
    assert library.loads == []


def test_a_pattern_that_the_shell_left_alone_is_expanded(recordings, capsys):
    assert _run(capsys, "*.wav")[1].count("Hello.") == 2


def test_a_hyphen_reads_standard_input(library, tmp_path, monkeypatch, capsys):
    (tmp_path / "piped").write_bytes(b"RIFF")
    with (tmp_path / "piped").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert _run(capsys, "-", "-f", "txt")[1] == "Hello.\nBye.\n"
        assert library.calls[0][0].read() == b"RIFF"
    assert Path("stdin.txt").is_file()


def test_an_unknown_model_is_an_error_before_any_recording_is_opened(library, recordings, capsys):
    library.load_error = HubError("No model named 'tinny'. Did you mean 'tiny'?")
    code, out, err = _run(capsys, "a.wav", "--model", "tinny")
    assert (code, out, err) == (2, "", "stagewhisper: error: No model named 'tinny'. Did you mean 'tiny'?\n")
    assert library.calls == []


@pytest.mark.parametrize(
    "wrong",
    [
        ["--length-penalty", "3"],
        ["--temperature", "-1"],
        ["--temperature-increment-on-fallback", "0"],
        ["--language", "klingon"],
        ["--clip-timestamps", "a,b"],
        ["--threads", "-1"],
        ["--beam-size", "0"],
        ["--seed", "-1"],
        ["--fp16", "False", "--precision", "int8"],
        ["--fp16", "False", "--encoder-precision", "int8"],
    ],
)
def test_an_impossible_option_is_one_line_before_the_model_is_loaded(library, recordings, capsys, wrong):
    code, out, err = _run(capsys, "a.wav", *wrong)
    assert (code, out, library.loads) == (2, "", [])
    assert err.startswith("stagewhisper: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        ["--word_timestamps", "True"],
        ["--highlight_words", "True"],
        ["--max_line_width", "40"],
        ["--max_line_count", "2"],
        ["--max_words_per_line", "4"],
        ["--hallucination_silence_threshold", "2"],
    ],
)
def test_asking_for_words_is_refused_by_the_options_name(library, recordings, capsys, option):
    code, _, err = _run(capsys, "a.wav", *option)
    assert (code, library.loads) == (2, [])
    assert f"{option[0].replace('_', '-')} " in err
    assert "this version does not have yet" in err


def test_the_inactive_values_of_the_word_options_change_nothing(library, recordings, capsys):
    _run(capsys, "a.wav")
    inactive = "--word_timestamps False --highlight_words False --max_line_width None --max_line_count None"
    inactive += " --max_words_per_line None --hallucination_silence_threshold None --append_punctuations ,."
    assert _run(capsys, "a.wav", *inactive.split())[0] == 0
    assert library.calls[0] == library.calls[1]


def test_an_option_that_the_library_refuses_ends_the_run(library, recordings, capsys):
    library.contents["a.wav"] = OptionError("This model does not know the language 'yue'.")
    code, out, err = _run(capsys, "a.wav", "b.wav")
    assert (code, out, len(library.calls)) == (2, "", 1)
    assert err == "stagewhisper: error: This model does not know the language 'yue'.\n"


def test_the_library_is_given_openai_whispers_defaults(library, recordings, capsys):
    _run(capsys, "a.wav")
    assert library.loads == [
        (
            "turbo",
            {
                "engine": None,
                "device": None,
                "precision": None,
                "threads": None,
                "encoder_engine": None,
                "encoder_device": None,
                "encoder_precision": None,
                "cache_dir": None,
                "offline": False,
                "revision": None,
            },
        )
    ]
    assert library.calls == [
        (
            Path("a.wav"),
            {
                "task": "transcribe",
                "language": None,
                "initial_prompt": None,
                "carry_initial_prompt": False,
                "prefix": None,
                "condition_on_previous_text": True,
                "clip_timestamps": "0",
                "without_timestamps": False,
                "best_of": 5,
                "beam_size": 5,
                "patience": None,
                "length_penalty": None,
                "suppress_tokens": "-1",
                "seed": 0,
                "compression_ratio_threshold": 2.4,
                "logprob_threshold": -1.0,
                "no_speech_threshold": 0.6,
                "temperature": (0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0),
            },
        )
    ]


def test_options_reach_the_library(library, recordings, capsys):
    options = "--model-dir m --revision r --engine reference --device cpu --threads 1 --offline --fp16 False"
    options += " --task translate --language Dutch --beam_size None --temperature 0.5"
    options += " --temperature_increment_on_fallback None --clip_timestamps 1,2 --seed 7 --prefix So"
    assert _run(capsys, "a.wav", *options.split())[0] == 0
    assert library.loads[0][1] == {
        "engine": "reference",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "encoder_engine": None,
        "encoder_device": None,
        "encoder_precision": None,
        "cache_dir": Path("m"),
        "offline": True,
        "revision": "r",
    }
    given = library.calls[0][1]
    assert (given["task"], given["language"], given["beam_size"]) == ("translate", "Dutch", None)
    assert (given["temperature"], given["clip_timestamps"]) == ((0.5,), "1,2")
    assert (given["seed"], given["prefix"]) == (7, "So")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--encoder_engine pytorch --encoder-device cuda:1 --encoder-dtype float16", ("pytorch", "cuda:1", "fp16")),
        ("--encoder-engine pytorch --fp16 False", ("pytorch", None, "fp32")),
        ("--encoder-precision fp32 --fp16 False", (None, None, "fp32")),
        ("--encoder-device cuda --fp16 False", (None, "cuda", None)),
    ],
)
def test_the_encoders_options_reach_the_library(library, recordings, capsys, options, expected):
    assert _run(capsys, "a.wav", *options.split())[0] == 0
    given = library.loads[0][1]
    assert (given["encoder_engine"], given["encoder_device"], given["encoder_precision"]) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False)]
)
def test_the_hubs_offline_variable_is_honoured(library, recordings, capsys, monkeypatch, value, expected):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    _run(capsys, "a.wav", "--offline", "False")
    assert library.loads[0][1]["offline"] is expected


class _Full(io.TextIOWrapper):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_standard_output_ends_the_run_with_one_message(library, recordings, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", _Full(io.BytesIO()))
    assert main(["a.wav", "b.wav"]) == 2
    assert capsys.readouterr().err.startswith("stagewhisper: error: Cannot write to standard output: No space left")
    assert len(library.calls) == 1


def test_what_cannot_be_told_on_standard_error_stops_nothing(library, recordings, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Full(io.BytesIO()))
    assert main(["none.wav", "a.wav"]) == 2
    assert capsys.readouterr().out == "==> a.wav <==\nHello.\nBye.\n"


def test_the_cache_folder_comes_from_the_environment_unless_an_option_names_it(
    library, recordings, capsys, monkeypatch
):
    monkeypatch.setenv("STAGEWHISPER_CACHE", "from-environment")
    _run(capsys, "a.wav")
    _run(capsys, "a.wav", "--model_dir", "from-option")
    assert [options["cache_dir"] for _, options in library.loads] == [Path("from-environment"), Path("from-option")]


def test_an_english_only_model_ignores_another_language_with_a_warning(library, recordings, capsys):
    library.is_multilingual = False
    code, _, err = _run(capsys, "a.wav", "--model", "tiny.en", "--language", "nl")
    assert (code, library.calls[0][1]["language"]) == (0, "en")
    assert err == "stagewhisper: warning: tiny.en knows English only: --language nl is ignored.\n"
    assert _run(capsys, "a.wav", "--model", "tiny.en", "--language", "English")[2] == ""


def test_a_warning_of_the_library_is_one_line(library, recordings, capsys):
    def warned():
        warnings.warn("'a.wav' is cut short.", AudioWarning, stacklevel=1)
        return FakeStream([])

    library.contents["a.wav"] = warned
    assert _run(capsys, "a.wav") == (0, "", "stagewhisper: warning: 'a.wav' is cut short.\n")


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_and_news_go_to_standard_error_only(recordings, monkeypatch, capsys):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["a.wav", "-f", "txt"]) == 0
    assert capsys.readouterr().out == "Hello.\nBye.\n"
    assert "a.wav" in terminal.getvalue()
    assert "10 s" in terminal.getvalue()
    assert "stagewhisper: Wrote a.txt" in terminal.getvalue()


def test_a_bar_leaves_the_screen_while_text_is_written_to_the_same_terminal(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bar = ProgressBar("talk [1].wav", duration=60.0)
    with bar.shown():
        bar.move_to(30.0)
        with bar.out_of_the_way():
            before = terminal.getvalue()
            sys.stdout.write("Hello.\n")
        assert terminal.getvalue().startswith(before + "Hello.\n")
    assert "talk [1].wav" in terminal.getvalue()
    assert before.endswith("\x1b[2K")  # the bar's line is erased


def test_on_a_narrow_terminal_a_long_title_is_cut_and_the_numbers_stay(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    with ProgressBar("a-recording-with-a-name-wider-than-the-screen.wav", duration=60.0).shown():
        pass
    assert "a-recording" in terminal.getvalue()
    assert "than-the-screen" not in terminal.getvalue()
    assert "0/60 s" in terminal.getvalue()


def test_on_a_terminal_that_cannot_erase_there_is_no_bar(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with ProgressBar("a.wav", duration=60.0).shown():
        pass
    assert terminal.getvalue() == ""


def test_without_a_terminal_there_is_no_bar(capsys):
    bar = ProgressBar("a.wav", duration=60.0)
    with bar.shown(), bar.out_of_the_way():
        bar.move_to(1.0)
    assert capsys.readouterr() == ("", "")
