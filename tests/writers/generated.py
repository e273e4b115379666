"""Strategies for transcripts as odd as a model may write them."""

from hypothesis import strategies as st

from stagewhisper.transcript import Segment, Transcript, Word

seconds = st.one_of(
    st.floats(min_value=0, max_value=40_000, allow_nan=False),
    st.integers(min_value=0, max_value=2_000_000).map(lambda hundredths: hundredths / 100),
    # Halves of a millisecond, where two ways of rounding part:
    st.integers(min_value=0, max_value=8_000_000).map(lambda halves: halves / 2000),
    st.sampled_from([0.0, 0.0005, 0.0015, 59.9995, 59.9994999, 3599.9995, 3600.0, 359999.9996]),
)
texts = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(
        st.sampled_from([" a", "\t", "\n", "\r", "\u2028", "-->", "->", "--", ">", " ", "é", "日本", "😀", '"', "\\"]),
        max_size=12,
    ).map("".join),
)
scores = st.floats(min_value=-10, max_value=10, allow_nan=False)
words = st.lists(
    st.fixed_dictionaries({"word": texts, "start": seconds, "end": seconds, "probability": scores}),
    max_size=3,
)


def transcript_fields(words=st.none()):  # noqa: B008 a strategy is immutable
    """Plain values for `built`; a strategy must not build the package's types, which draw random checks."""
    segment = st.fixed_dictionaries(
        {
            "id": st.integers(0, 10_000),
            "seek": st.integers(0, 10_000_000),
            "start": seconds,
            "end": seconds,
            "text": texts,
            "tokens": st.lists(st.integers(0, 51_865), max_size=8),
            "temperature": st.sampled_from([0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]),
            "avg_logprob": scores,
            "compression_ratio": scores,
            "no_speech_prob": scores,
            "words": words,
        }
    )
    return st.fixed_dictionaries(
        {
            "text": texts,
            "segments": st.lists(segment, max_size=6),
            "language": st.sampled_from(["en", "yue", "nl"]),
        }
    )


def built(fields):
    """The transcript that has the generated `fields`."""
    return Transcript(**{**fields, "segments": tuple(map(_segment, fields["segments"]))})


def _segment(fields):
    words = None if fields["words"] is None else tuple(Word(**word) for word in fields["words"])
    return Segment(**{**fields, "tokens": tuple(fields["tokens"]), "words": words})
