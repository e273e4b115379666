import importlib
import inspect
import re

import pytest

from stagewhisper.cli.parsing import usual_spelling
from stagewhisper.cli.program import build_parser

# By name, since the package's attribute `transcribe` is the function.
openai = importlib.import_module("whisper.transcribe")


def _parsed(*arguments):
    return build_parser().parse_args(["transcribe", "x.wav", *arguments])


def _openai_options():
    return re.findall(r'add_argument\("(--[a-z_0-9]+)"', inspect.getsource(openai.cli))


def test_every_option_of_openai_whisper_is_known_in_both_spellings():
    values = {
        "--task": "translate",
        "--output_format": "srt",
        "--language": "en",
        **dict.fromkeys(("--verbose", "--fp16", "--carry_initial_prompt", "--condition_on_previous_text"), "False"),
        **dict.fromkeys(("--word_timestamps", "--highlight_words"), "False"),
    }
    options = _openai_options()
    assert len(options) > 30
    for option in options:
        value = values.get(option, "1")
        assert _parsed(option, value) == _parsed(f"{option.replace('_', '-')}={value}")


def test_defaults_are_those_of_openai_whisper():
    arguments = _parsed()
    source = inspect.getsource(openai.cli)
    for name in ("temperature", "best_of", "beam_size", "temperature_increment_on_fallback", "logprob_threshold"):
        default = re.search(rf'"--{name}", .*?default=([-\w.]+)', source).group(1)
        assert getattr(arguments, name) == float(default)
    assert (arguments.model, arguments.suppress_tokens, arguments.clip_timestamps) == ("turbo", "-1", "0")
    assert arguments.compression_ratio_threshold == 2.4
    assert arguments.no_speech_threshold == 0.6
    assert arguments.condition_on_previous_text is True
    assert arguments.carry_initial_prompt is False


@pytest.mark.parametrize("value", ["True", "true", "TRUE"])
def test_booleans_are_read_in_any_case(value):
    assert _parsed("--verbose", value).verbose is True
    assert _parsed(f"--verbose={value}").verbose is True
    assert _parsed("--condition_on_previous_text", "fAlse").condition_on_previous_text is False


def test_a_bare_boolean_is_true_and_takes_no_file_for_its_value():
    arguments = build_parser().parse_args(["transcribe", "--offline", "x.wav"])
    assert arguments.offline is True
    assert arguments.files == ["x.wav"]
    assert _parsed("--without_timestamps").without_timestamps is True


def test_another_word_is_no_boolean(capsys):
    with pytest.raises(SystemExit):
        _parsed("--verbose=yes")
    assert capsys.readouterr().err == (
        "stagewhisper: error: argument --verbose: expected True or False, got 'yes' "
        "(help: stagewhisper transcribe --help)\n"
    )


def test_none_is_accepted_where_a_value_may_be_absent():
    arguments = _parsed("--beam_size", "None", "--logprob_threshold", "None", "--threads", "None")
    assert (arguments.beam_size, arguments.logprob_threshold, arguments.threads) == (None, None, None)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--beam-size", "2.5"), ("--temperature", "hot"), ("--temperature", "nan"), ("--logprob-threshold", "inf")],
)
def test_what_is_no_number_is_refused(option, value, capsys):
    with pytest.raises(SystemExit) as end:
        _parsed(option, value)
    assert end.value.code == 2
    assert f"argument {option}: expected a" in capsys.readouterr().err


def test_formats_may_be_listed_and_all_stands_for_every_built_in_one():
    assert _parsed("-f", "srt, txt,srt").output_format == ("srt", "txt")
    assert _parsed("-f", "all").output_format == ("txt", "vtt", "srt", "tsv", "json", "lrc")


@pytest.mark.parametrize("value", ["doc", "srt,", ""])
def test_an_unknown_format_is_answered_with_the_known_ones(value, capsys):
    with pytest.raises(SystemExit):
        _parsed("-f", value)
    assert "known: json, lrc, srt, tsv, txt, vtt, all" in capsys.readouterr().err


def test_only_the_names_of_options_are_respelled():
    spelled = usual_spelling(["--a_b=c_d", "e_f", "-g_h", "--", "--i_j"], switches=set())
    assert spelled == ["--a-b=c_d", "e_f", "-g_h", "--", "--i_j"]


def test_a_bare_boolean_before_the_end_of_options_is_true():
    assert usual_spelling(["--s_w", "--", "True"], switches={"--s-w"}) == ["--s-w=True", "--", "True"]


def test_files_may_stand_anywhere_among_the_options():
    parsed = build_parser().parse_args(
        ["transcribe", "a.wav", "--seed", "1", "b.wav", "-f", "txt", "-", "--", "-c.wav"]
    )
    assert parsed.files == ["a.wav", "b.wav", "-", "-c.wav"]
    assert (parsed.seed, parsed.output_format) == (1, ("txt",))


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [("--suppress_tokens", "-1,50", "suppress_tokens"), ("--clip_timestamps", "-.5,2", "clip_timestamps")],
)
def test_a_list_may_begin_with_a_negative_number(option, value, name):
    assert getattr(_parsed(option, value), name) == value


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["transcribe", "a.wav", "--modle", "tiny"], "there is no option --modle; did you mean --model?"),
        (["transcribe", "a.wav", "--beamsize=5"], "there is no option --beamsize; did you mean --beam-size?"),
        (["transcribe", "a.wav", "--xyzzy"], "there is no option --xyzzy (help: stagewhisper transcribe --help)"),
        (["models", "list", "tiny"], "unexpected argument 'tiny' (help: stagewhisper models list --help)"),
    ],
)
def test_what_is_not_understood_is_named_with_what_may_be_meant(arguments, answer, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(arguments)
    assert answer in capsys.readouterr().err


def test_a_file_that_looks_like_options_is_answered_with_how_to_write_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd.wav").touch()
    with pytest.raises(SystemExit):
        build_parser().parse_args(["transcribe", "-odd.wav"])
    assert "Write ./-odd.wav if you mean that file" in capsys.readouterr().err
