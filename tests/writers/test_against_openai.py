"""Every format that openai/whisper has is compared with what it writes, byte for byte."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.utils import format_timestamp as openai_timestamp
from whisper.utils import get_writer

from stagewhisper.writers import WRITERS, format_timestamp
from tests.writers.generated import built, seconds, transcript_fields, words


def _ours(transcript, name):
    file = io.StringIO(newline="")
    WRITERS.get(name)(transcript, file)
    return file.getvalue().encode()


def _openai(transcript, name):
    file = io.StringIO(newline="")
    get_writer(name, ".").write_result(transcript.to_dict(), file)
    return file.getvalue().encode()


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv", "json"])
def test_bytes_equal_those_of_openai_whisper(name):
    @settings(max_examples=300, deadline=None)
    @given(fields=transcript_fields())
    def compare(fields):
        transcript = built(fields)
        assert _ours(transcript, name) == _openai(transcript, name)

    compare()


@pytest.mark.parametrize("name", ["txt", "tsv", "json"])
def test_bytes_equal_those_of_openai_whisper_when_segments_have_words(name):
    @settings(max_examples=50, deadline=None)
    @given(fields=transcript_fields(words))
    def compare(fields):
        transcript = built(fields)
        assert _ours(transcript, name) == _openai(transcript, name)

    compare()


@settings(max_examples=500, deadline=None)
@given(seconds=seconds, hours=st.booleans(), marker=st.sampled_from([".", ","]))
def test_timestamps_equal_those_of_openai_whisper(seconds, hours, marker):
    ours = format_timestamp(seconds, always_include_hours=hours, decimal_marker=marker)
    assert ours == openai_timestamp(seconds, hours, marker)
