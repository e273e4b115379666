"""The model card's table says what an evaluation found."""

from typing import Any

from benchmarks.nano_results import card_lines, readme_lines, table
from stagewhisper.evaluation.results import (
    EditCounts,
    ErrorRate,
    Figures,
    LanguageAccuracy,
    Silence,
    TimingAccuracy,
)

HEARD = ErrorRate(EditCounts(hits=95, substitutions=3, deletions=2, insertions=1), (0.034, 0.0816))
NO_WORDS = ErrorRate(EditCounts())


def figures(wer: ErrorRate, **changes: Any) -> dict[str, Any]:
    """A set of ten clips as a stored result has it."""
    common: dict[str, Any] = {
        "n_clips": 10, "n_failures": 0, "cer": wer, "duration": 20.0, "elapsed": 1.0, "n_windows": 10, "n_fallbacks": 0,
        "n_five_gram_insertions": 0, "n_clips_with_five_gram_insertions": 0, "language": LanguageAccuracy(10, 9),
        "timing": TimingAccuracy(0, 0, 0.1, None, None), "silence": Silence(0, 0), "qoi": None,
    }  # fmt: skip
    return Figures(**{"wer": wer, **common, **changes}).to_dict()


def test_a_set_is_a_row_of_its_measures() -> None:
    timed = figures(HEARD, timing=TimingAccuracy(8, 6, 0.1, 0.02, 0.2))
    *_, row = table({"an4": timed}, ["an4"])
    name, *cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert "AN4" in name
    assert cells == ["10", "6.0 %", "3.4 to 8.2", "6.0 %", "90.0 %", "75.0 %", "–"]


def test_a_set_without_words_has_no_error_rate_but_the_clips_that_got_text() -> None:
    silent = figures(NO_WORDS, language=LanguageAccuracy(0, 0), silence=Silence(10, 1))
    *_, row = table({"silence": silent}, ["silence"])
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == ["10", *["–"] * 5, "1 of 10"]


def test_only_sets_that_were_measured_have_a_row_and_in_the_order_asked_for() -> None:
    sets = {"silence": figures(NO_WORDS), "fsdd": figures(HEARD), "all": figures(HEARD)}
    assert [line.split(" | ")[0] for line in table(sets, ["fsdd", "an4", "silence"])[2:]] == [
        "| digits, a person of FSDD",
        "| silence and noise",
    ]


WORSE = ErrorRate(EditCounts(hits=5, substitutions=5))
VOICES = {f"synthetic-{code}": figures(HEARD) for code in ("en", "es", "de", "fr")}


def result(sha256: str, wer: ErrorRate) -> dict[str, Any]:
    people = {"fsdd": figures(wer), "an4": figures(wer)}
    return {"model": {"name": "nano", "sha256": sha256}, "basic": {**VOICES, **people, "silence": figures(NO_WORDS)}}


SHIPPED, STRANGERS = result("abc" * 20, HEARD), result("123" * 20, WORSE)


def test_the_card_takes_strangers_from_the_model_that_never_heard_them() -> None:
    rows = [line for line in card_lines(SHIPPED, STRANGERS) if line.startswith("| ") and "AN4" in line]
    assert [row.split(" | ")[2] for row in rows] == ["50.0 %", "6.0 %"]


def test_the_card_tells_of_which_weights_its_figures_are() -> None:
    text = " ".join(card_lines(SHIPPED, STRANGERS))
    assert "shipped weights begins with `abcabcabcabc`, of those before with `123123123123`" in text


def test_the_readme_says_that_figures_of_strangers_are_of_the_weights_before_the_last_steps() -> None:
    sentence = next(readme_lines(SHIPPED, STRANGERS))
    assert (
        "people it had not heard before its last training steps, which add them, digits 50.0 %, AN4 50.0 %" in sentence
    )
    assert "synthetic voices it never heard en 6.0 %, es 6.0 %, de 6.0 %, fr 6.0 %" in sentence


def test_before_anything_was_measured_there_is_no_table() -> None:
    assert not any(line.startswith("|") for line in card_lines(None, None))
    assert list(readme_lines(None, None)) == []
