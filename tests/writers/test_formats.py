import io
import subprocess
import sys
from inspect import ismodule

import pytest

from stagewhisper import writers
from stagewhisper.errors import OptionError
from stagewhisper.transcript import Segment, Transcript
from stagewhisper.writers import BUILT_IN_FORMATS, WRITERS


def _transcript(*pieces):
    segments = tuple(
        Segment(
            id=i,
            seek=0,
            start=start,
            end=start + 1,
            text=text,
            tokens=(),
            temperature=0.0,
            avg_logprob=0.0,
            compression_ratio=1.0,
            no_speech_prob=0.0,
        )
        for i, (start, text) in enumerate(pieces)
    )
    return Transcript(text="".join(text for _, text in pieces), segments=segments, language="en")


def _written(name, transcript):
    file = io.StringIO(newline="")
    WRITERS.get(name)(transcript, file)
    return file.getvalue()


def test_lrc_gives_each_segment_its_start_in_minutes_seconds_and_hundredths():
    assert _written("lrc", _transcript((0.0, " One"), (61.237, " two "))) == "[00:00.00]One\n[01:01.24]two\n"


def test_lrc_minutes_go_beyond_an_hour_and_beyond_two_digits():
    assert _written("lrc", _transcript((3600.0, "a"), (36000.5, "b"))) == "[60:00.00]a\n[600:00.50]b\n"


def test_lrc_rounding_up_carries_into_the_minutes():
    assert _written("lrc", _transcript((59.996, "a"))) == "[01:00.00]a\n"


def test_lrc_keeps_a_text_with_line_breaks_on_one_line():
    assert _written("lrc", _transcript((0.0, " a\nb\r\nc"))) == "[00:00.00]a b c\n"


def test_every_public_name_is_listed_and_there():
    public = {name for name, value in vars(writers).items() if name[0] != "_" and not ismodule(value)}
    assert set(writers.__all__) == public


def test_every_built_in_format_has_a_writer():
    assert set(BUILT_IN_FORMATS) == {"txt", "srt", "vtt", "tsv", "json", "lrc"}
    for name in BUILT_IN_FORMATS:
        assert callable(WRITERS.get(name))


def test_an_unknown_format_is_answered_with_the_known_ones():
    with pytest.raises(OptionError, match=r"No writer named 'srtt'\. Known: json, lrc, srt, tsv, txt, vtt"):
        WRITERS.get("srtt")


def test_writers_need_no_numpy():
    program = (
        "import sys, stagewhisper.writers as w\n"
        "[w.WRITERS.get(name) for name in w.BUILT_IN_FORMATS]\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
