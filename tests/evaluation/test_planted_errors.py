"""Every measure of the manifest in planted.py equals the value worked out by hand."""

import json
import math
from pathlib import Path

import pytest

from stagewhisper.evaluation import Evaluation, beside_reference, evaluate, load_dataset
from tests.evaluation.planted import OF_REFERENCE, FakeModel, segment, transcript, write_manifest


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return evaluate(FakeModel(), load_dataset(write_manifest(tmp_path)))


def test_the_word_error_rate_is_that_of_all_clips_together(evaluation: Evaluation) -> None:
    # hits 5 + 2 + 2 + 0 + 2 + 3 = 14, substitutions 1 + 1, deletions 1, insertions 7 + 1; 17 words in the references.
    counts = evaluation.summary.wer.counts
    assert (counts.hits, counts.substitutions, counts.deletions, counts.insertions) == (14, 2, 1, 8)
    assert counts.n_reference == 17
    assert evaluation.summary.wer.rate == 11 / 17


def test_the_character_error_rate_is_that_of_all_clips_together(evaluation: Evaluation) -> None:
    # a: "the" -> "a" is 1 substitution and 2 deletions, of 22 characters. b: " now" is 4 deletions, of 15.
    # c: " thank you for watching this film today" is 39 insertions, of 7. d: 3 insertions. e: none of 12.
    # f: "zwei" -> "zwo" is 1 substitution and 1 deletion, of 19.
    counts = evaluation.summary.cer.counts
    assert (counts.substitutions, counts.deletions, counts.insertions) == (2, 7, 42)
    assert counts.n_reference == 75
    assert evaluation.summary.cer.rate == 51 / 75


def test_a_run_of_seven_inserted_words_holds_three_5_grams(evaluation: Evaluation) -> None:
    assert evaluation.summary.n_five_gram_insertions == 3
    assert evaluation.summary.n_clips_with_five_gram_insertions == 1


def test_each_language_has_a_row(evaluation: Evaluation) -> None:
    # en: a, b, c with 1 + 1 + 7 errors of 11 words, and the failure; de: 1 of 6; unknown: d, without words.
    rows = {row.name: row.figures for row in evaluation.rows if row.by == "language"}
    assert list(rows) == ["en", "unknown", "de"]
    assert rows["en"].wer.rate == 9 / 11
    assert rows["de"].wer.rate == 1 / 6
    assert rows["unknown"].wer.rate is None
    assert [figures.n_failures for figures in rows.values()] == [1, 0, 0]


def test_subsets_have_rows_and_the_one_task_and_data_set_have_none(evaluation: Evaluation) -> None:
    assert [(row.by, row.name) for row in evaluation.rows if row.by != "language"] == [
        ("subset", "x"),
        ("subset", "unknown"),
    ]


def test_a_language_is_judged_where_the_truth_is_known(evaluation: Evaluation) -> None:
    # Right are a, b and e; c was taken for French, f for Dutch; of d nobody knows.
    assert (evaluation.summary.language.n_judged, evaluation.summary.language.n_right) == (5, 3)


def test_times_are_judged_by_both_ends_of_the_speech(evaluation: Evaluation) -> None:
    # a: 0.05 s and 0.1 s off; b: 0.3 s and 0. Sorted 0, 0.05, 0.1, 0.3: the median is 0.075, and the 90th percentile
    # lies 0.7 of the way from the third to the fourth.
    timing = evaluation.summary.timing
    assert (timing.n_judged, timing.n_within) == (2, 1)
    assert timing.median_error == pytest.approx(0.075)
    assert timing.p90_error == pytest.approx(0.1 + 0.7 * 0.2)


def test_text_on_silence_is_counted(evaluation: Evaluation) -> None:
    assert (evaluation.summary.silence.n_clips, evaluation.summary.silence.n_with_text) == (1, 1)
    assert [clip.audio for clip in evaluation.clips if clip.is_silence] == ["d.wav"]


def test_a_word_that_normalisers_leave_out_is_said_nevertheless(tmp_path: Path) -> None:
    records = [{"audio": name, "text": text, "language": "en"} for name, text in [("a.wav", "Um."), ("d.wav", " ")]]
    model = FakeModel({name: transcript(segment(" Um.", 0, 1)) for name in ("a.wav", "d.wav")})
    found = evaluate(model, load_dataset(write_manifest(tmp_path, records))).summary
    assert found.wer.counts.n_errors == 0
    assert (found.silence.n_clips, found.silence.n_with_text) == (1, 1)


def test_the_language_of_silence_is_not_judged(tmp_path: Path) -> None:
    records = [{"audio": name, "text": text, "language": "en"} for name, text in [("a.wav", "one"), ("d.wav", "")]]
    model = FakeModel({name: transcript(segment(" one", 0, 1), language="fr") for name in ("a.wav", "d.wav")})
    found = evaluate(model, load_dataset(write_manifest(tmp_path, records))).summary
    assert (found.language.n_judged, found.language.n_right) == (1, 0)


def test_windows_decoded_above_the_first_temperature_are_fallbacks(evaluation: Evaluation) -> None:
    assert (evaluation.summary.n_windows, evaluation.summary.n_fallbacks) == (7, 2)


def test_a_window_at_the_temperature_that_was_asked_for_is_no_fallback(tmp_path: Path) -> None:
    found = evaluate(FakeModel(), load_dataset(write_manifest(tmp_path)), temperature=(0.4, 1.0))
    assert found.summary.n_fallbacks == 1


def test_a_clip_that_cannot_be_read_is_a_failure_and_the_rest_is_done(evaluation: Evaluation) -> None:
    assert [(failure.audio, failure.error) for failure in evaluation.failures] == [
        ("missing.wav", "There is no file 'missing.wav'.")
    ]
    assert (evaluation.summary.n_clips, evaluation.summary.n_failures) == (6, 1)


def test_a_recording_without_text_is_left_out_and_counted(evaluation: Evaluation) -> None:
    (dataset,) = evaluation.datasets
    assert (dataset.n_items, dataset.n_without_text) == (7, 1)


def test_the_diff_tells_what_became_of_every_word(evaluation: Evaluation) -> None:
    assert [piece.to_dict() for piece in evaluation.clips[1].diff] == [
        {"op": "equal", "reference": ["stop"], "hypothesis": ["stop"]},
        {"op": "delete", "reference": ["now"], "hypothesis": []},
        {"op": "equal", "reference": ["please"], "hypothesis": ["please"]},
    ]


def test_qoi_is_the_share_of_clips_on_which_the_model_is_no_worse(evaluation: Evaluation, tmp_path: Path) -> None:
    # No worse on a, c, e, f; worse on b and d.
    reference = evaluate(FakeModel(OF_REFERENCE), load_dataset(tmp_path), about={"name": "big"})
    found = beside_reference(evaluation, reference.to_dict())
    assert found.summary.qoi is not None
    assert (found.summary.qoi.n_compared, found.summary.qoi.n_no_worse) == (6, 4)
    assert found.summary.qoi.percent == pytest.approx(100 * 4 / 6)
    assert found.reference_model is not None
    # 2 + 0 + 7 + 0 + 1 + 1 errors of 17 words
    assert (found.reference_model.name, found.reference_model.wer.rate) == ("big", 11 / 17)
    qoi_by_language = {
        row.name: row.figures.qoi.percent for row in found.rows if row.by == "language" and row.figures.qoi
    }
    assert qoi_by_language == {"en": pytest.approx(200 / 3), "unknown": 0.0, "de": 100.0}


def test_the_model_beside_itself_has_a_qoi_of_100(evaluation: Evaluation) -> None:
    found = beside_reference(evaluation, evaluation.to_dict())
    assert found.summary.qoi is not None
    assert found.summary.qoi.percent == 100


def test_the_document_survives_json(evaluation: Evaluation) -> None:
    document = evaluation.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["summary"]["wer"]["rate"] == 11 / 17
    assert document["summary"]["rtf"] == pytest.approx(evaluation.summary.elapsed / 50)
    assert math.isfinite(document["summary"]["wer"]["interval"][1])
