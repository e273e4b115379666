"""The parts of the page: markup, numbers, scale and histogram."""

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewhisper.evaluation.page_histogram import counts_by_rate, histogram
from stagewhisper.evaluation.page_markup import Html, data_block, escaped, joined, tag
from stagewhisper.evaluation.page_numbers import interval, percent, plain, seconds
from stagewhisper.evaluation.page_scale import scale_for
from tests.evaluation.parsed_page import parsed


def shown(html: Html) -> str:
    return parsed(html).text.replace("\N{NO-BREAK SPACE}", " ")


# Letters, numbers, punctuation, symbols and spaces of all scripts.
readable = st.text(st.characters(categories=["L", "N", "P", "S", "Z"]))


@given(readable)
def test_text_and_attributes_come_back_as_they_were(text: str):
    (element,) = parsed(tag("p", text, title=text)).all("p")
    assert element.text == text
    assert element.attributes["title"] == text


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x85", "\ud800", "\ufffe"])
def test_what_html_cannot_hold_is_replaced(character: str):
    assert escaped(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


@given(st.recursive(st.none() | readable | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_data_for_the_script_comes_back_as_it_was(value):
    (element,) = parsed(data_block("d", value)).all("script")
    assert json.loads(element.text) == value


@given(st.lists(st.sampled_from(["<", "/", "!", "-", "script", ">", "\\", '"', "\ud800", "\x00", "\n"])).map("".join))
def test_data_for_the_script_cannot_end_its_element(text: str):
    block = data_block("d", [text])
    assert block.count("<") == 2
    assert json.loads(parsed(block).text) == [text.replace("\ud800", "\N{REPLACEMENT CHARACTER}")]


def test_markup_is_not_escaped_again_and_nothing_is_nothing():
    assert tag("p", tag("b", "1 < 2"), None, "&") == "<p><b>1 &lt; 2</b>&amp;</p>"
    assert joined(["<", Html("<br>")]) == "&lt;<br>"


def test_attributes_are_bare_left_out_or_given():
    made = tag("audio", controls=True, muted=False, src=None, class_="a", aria_label="b")
    assert made == '<audio controls class="a" aria-label="b"></audio>'


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.00004, "0.00 %"),
        (0.05678, "5.68 %"),
        (0.09994, "9.99 %"),
        (0.09996, "10.0 %"),
        (0.125, "12.5 %"),
        (1.0, "100 %"),
        (2.5, "250.0 %"),
    ],
)
def test_percentages_have_two_decimals_below_ten_and_one_above(rate, text):
    assert shown(percent(rate)) == text


def test_an_interval_shows_both_ends_and_none_shows_nothing():
    assert shown(interval((0.041, 0.125))) == "4.10–12.5 %"
    assert interval(None) == ""


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (None, "–"),
        (0.0, "0.0 s"),
        (0.085, "0.085 s"),
        (0.1, "0.1 s"),
        (12.34, "12.3 s"),
        (59.4, "59.4 s"),
        (59.96, "1 min 00 s"),
        (150.0, "2 min 30 s"),
        (3599.7, "1 h 00 min"),
        (5400.0, "1 h 30 min"),
    ],
)
def test_durations_come_in_the_units_of_their_length(duration, text):
    assert shown(seconds(duration)) == text


@pytest.mark.parametrize(("number", "text"), [(None, "–"), (0.0801, "0.0801"), (12.5, "12.5"), (1234.6, "1,235")])
def test_plain_numbers_have_three_digits(number, text):
    assert shown(plain(number)) == text


@given(st.lists(st.floats(0, 20), max_size=5))
def test_a_scale_holds_every_rate_up_to_one_in_at_most_five_steps(rates):
    scale = scale_for(rates)
    assert scale.end >= min(1.0, max(rates, default=0)) - 1e-9
    assert scale.end <= 1.0 + 1e-9
    assert 2 <= len(scale.ticks) <= 6
    assert scale.ticks[-1] == pytest.approx(scale.end)
    assert all(0 <= float(scale.position(rate).removesuffix("%")) <= 100 for rate in rates)


def test_a_scale_takes_round_steps():
    assert (scale_for([0.07]).step, scale_for([0.07]).end) == (0.02, pytest.approx(0.08))
    assert (scale_for([0.9]).step, scale_for([0.9]).end) == (0.2, 1.0)
    assert scale_for([]).end == 0.001


def test_a_rate_stands_in_the_tenth_that_it_completes():
    n_perfect, counts = counts_by_rate([0.0, 0.0, 0.05, 0.1, 3 / 10, 0.3 + 1e-6, 1.0, 1.01, 7.0])
    assert n_perfect == 2
    assert counts == (2, 0, 1, 1, 0, 0, 0, 0, 0, 1, 2)


def test_the_smallest_rate_above_nothing_is_not_called_perfect():
    assert counts_by_rate([1e-5]) == (0, (1, *[0] * 10))


def test_the_histogram_shows_its_counts_and_says_them_in_words():
    drawn = parsed(histogram([0.0] * 6 + [0.15] * 3 + [2.0]))
    assert drawn.all("p")[0].text.replace("\N{NO-BREAK SPACE}", " ") == (
        "6 of 10 clips with words (60.0 %) have no error. The others:"
    )
    assert [text.text for text in drawn.all("text", class_="count")] == ["3", "1"]
    heights = [float(bar.attributes["height"]) for bar in drawn.all("rect")]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2)  # drawn to a tenth of a pixel
    assert "≤20 %: 3; >100 %: 1." in drawn.all("svg")[0].attributes["aria-label"]


def test_clips_without_any_error_need_no_drawing():
    assert not parsed(histogram([0.0, 0.0])).all("svg")


def test_the_drawing_is_well_formed_svg():
    (svg,) = ET.fromstring(f"<body>{histogram([0.5, 0.0])}</body>").iter("svg")
    assert len(list(svg.iter("rect"))) == 1
