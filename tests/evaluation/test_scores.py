"""Error rates, their intervals and normalisers, without any model."""

import json
import random
from pathlib import Path

import jiwer
import pytest
import whisper.normalizers

from stagewhisper.errors import StagewhisperError
from stagewhisper.evaluation import EditCounts, normalizer_for, score
from stagewhisper.evaluation.bootstrap import error_rates
from stagewhisper.evaluation.comparison import five_gram_insertions
from stagewhisper.evaluation.packages import needed
from stagewhisper.evaluation.results import DiffPiece

PIECES = (
    *("twenty", "one", "hundred", "point", "five", "half", "million", "double", "oh", "o", "sixteenth", "seventies"),
    *("3", "4.5", "1,000", "1960s", "$", "€", "¢", "%", "dollars", "cents", "and", "-", "minus", ".", ",", "'"),
    *("ain't", "I'm", "they'd", "been", "won't", "let's", "gonna", "shoulda", "Mr.", "Dr", "uh", "hmm", "colour"),
    *("centre", "realise", "(x)", "[y]", "<z>", "é", "œ", "ß", "straße", "Ünïcode", "中文", "カ", "ก็"),
    *("kinda", "sorta", "dunno", "cause", "'cause"),  # which the package treats otherwise unless it is kept from it
)


def test_equal_texts_have_no_errors() -> None:
    found = score([("One, two!", "one two")])
    assert found.wer.rate == found.cer.rate == 0.0


def test_the_rate_of_many_texts_is_jiwers() -> None:
    rng = random.Random(3)
    words = ["alpha", "beta", "gamma", "delta"]
    pairs = [(" ".join(rng.choices(words, k=5)), " ".join(rng.choices(words, k=rng.randint(0, 7)))) for _ in range(60)]
    references, texts = (list(side) for side in zip(*pairs, strict=True))
    found = score(pairs, normalizer="none")
    assert found.wer.rate == pytest.approx(jiwer.wer(references, texts))
    assert found.cer.rate == pytest.approx(jiwer.cer(references, texts))


def test_no_texts_have_no_rate() -> None:
    found = score([])
    assert (found.wer.rate, found.wer.interval) == (None, None)


def test_text_without_a_reference_counts_as_insertions() -> None:
    found = score([("", "so what"), ("here we go again", "here we go again")])
    assert found.wer.counts == EditCounts(hits=4, insertions=2)
    assert found.wer.rate == 0.5


def test_two_clips_one_right_and_one_wrong_could_as_well_be_both_right_or_both_wrong() -> None:
    # Of the four draws of two clips, one has the right clip twice and one the wrong one: a quarter of all at each end.
    (rate,) = error_rates([EditCounts(hits=1), EditCounts(substitutions=1)])
    assert (rate.rate, rate.interval) == (0.5, (0.0, 1.0))


def test_clips_that_are_alike_leave_no_doubt() -> None:
    (rate,) = error_rates([EditCounts(hits=3, deletions=1)] * 5)
    assert rate.interval == (0.25, 0.25)


def test_the_interval_of_many_clips_is_the_normal_distributions() -> None:
    # 30 of 400 one-word clips wrong: 0.075 ± 1.96 · sqrt(0.075 · 0.925 / 400) = 0.049 to 0.101. Tolerance: twice the
    # step of 1/400 in which such a rate moves.
    (rate,) = error_rates([EditCounts(substitutions=1)] * 30 + [EditCounts(hits=1)] * 370)
    assert rate.interval == pytest.approx((0.0492, 0.1008), abs=0.005)


def test_the_interval_is_the_same_every_time() -> None:
    counts = [EditCounts(hits=i, substitutions=i % 3) for i in range(1, 20)]
    assert error_rates(counts) == error_rates(counts)


def test_one_clip_has_no_interval() -> None:
    assert error_rates([EditCounts(hits=1)])[0].interval is None


def test_draws_of_silence_alone_are_left_out() -> None:
    (rate,) = error_rates([EditCounts(insertions=1), EditCounts(hits=2)])
    assert rate.interval == (0.0, 1 / 2)  # the words' clip twice; each once. Silence twice has no rate.


@pytest.mark.parametrize(("n_words", "expected"), [(0, 0), (4, 0), (5, 1), (6, 2), (20, 16)])
def test_a_run_of_inserted_words_holds_all_its_5_grams(n_words: int, expected: int) -> None:
    words = ("word",) * n_words
    assert five_gram_insertions([DiffPiece("insert", (), words), DiffPiece("substitute", words, words)]) == expected


def test_two_short_runs_make_no_5_gram() -> None:
    run = DiffPiece("insert", (), ("so", "so", "so"))
    assert five_gram_insertions([run, DiffPiece("equal", ("a",), ("a",)), run]) == 0


def texts(folder: Path) -> list[str]:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    known = {json.loads(line)["text"] for line in lines}
    rng = random.Random(0)
    made = [rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(1, 9))) for _ in range(4000)]
    return sorted(text for text in known if text) + made


@pytest.mark.filterwarnings("ignore:unclosed file.*english.json:ResourceWarning")  # openai-whisper leaves it open
@pytest.mark.parametrize("language", ["en", None, "de", "ja"])
def test_texts_are_normalised_as_openai_whisper_does_it(language: str | None, audio_dir: Path) -> None:
    openais = {
        "de": whisper.normalizers.BasicTextNormalizer(),
        "ja": whisper.normalizers.BasicTextNormalizer(split_letters=True),
    }.get(language or "", whisper.normalizers.EnglishTextNormalizer())
    normalize = normalizer_for("auto", language=language)
    differing = [text for text in texts(audio_dir) if normalize(text) != openais(text).strip()]
    assert differing == []


@pytest.mark.parametrize("language", ["zh", "ja", "th", "lo", "my", "yue"])
def test_languages_without_spaces_are_counted_by_letters(language: str) -> None:
    assert score([("中文字", "中交字")], language=language).wer.counts == EditCounts(hits=2, substitutions=1)


def test_the_named_normaliser_is_taken_whatever_the_language() -> None:
    assert normalizer_for("english", language="de")("twenty") == "20"
    assert normalizer_for("basic", language="en")("Twenty!") == "twenty"
    assert normalizer_for("none", language="en")(" Twenty! ") == "Twenty!"


def test_white_space_of_any_kind_separates_words_and_is_one_character() -> None:
    found = score([("hello world foo bar", "hello\nworld  foo\tbar")], normalizer="none")
    assert (found.wer.rate, found.cer.rate) == (0.0, 0.0)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(StagewhisperError, match=r"'no_such_package'.*pip install '\.\[evaluation\]'"):
        needed("no_such_package.sub")
