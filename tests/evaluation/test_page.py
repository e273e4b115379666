"""The page as a whole: its figures are the document's, and nothing in the document can act in it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from stagewhisper.evaluation.page import html_page
from stagewhisper.evaluation.page_worst import N_WORST
from stagewhisper.evaluation.results import EditCounts
from tests.evaluation.page_documents import FIGURES, NOTHING, clip, document, failure, reference_clip
from tests.evaluation.parsed_page import Element, parsed

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script><!--",
    "\"><img src=x onerror='alert(3)'>",
    "' onmouseover='alert(4)",
    "</title></style></textarea><svg onload=alert(5)>",
    "<!-- <script> & &lt;b&gt; ]]>",
    "\u2028\u202e\x00\x1b[31m\ud800",
)


def no_audio(clip_id: str) -> None:
    return None


def page_of(*clips, **fields) -> Element:
    return parsed(html_page(document(*clips, **fields), no_audio))


def test_the_headline_figures_are_those_of_the_document():
    page, figures = page_of(clip(("a", "a"))), FIGURES.to_dict()
    wer, cer = figures["wer"], figures["cer"]
    assert page.by_id("tile-wer").values == [wer["rate"], *wer["interval"], 30, 20, 7, 1000]
    assert page.by_id("tile-cer").values == [cer["rate"], *cer["interval"], 60, 40, 11, 4000]
    assert page.by_id("tile-rtf").values == [figures["rtf"], 1 / figures["rtf"], 3725.0, 298.0]
    assert page.by_id("tile-qoi").values == [pytest.approx(1172 / 1234), 1172, 1234, 0.04]
    assert page.by_id("tile-language").values == [0.98, 1176, 1200]
    assert page.by_id("tile-timing").values == [0.1, 0.93, 744, 800, 0.03, 0.085]
    assert page.by_id("tile-silence").values == [3, 100]
    assert page.by_id("tile-five-grams").values == [9, 4]
    assert page.by_id("tile-fallbacks").values == [17, 1300]
    assert page.by_id("tile-failures").values == [2]


def test_the_headline_reads_as_people_write_numbers():
    heading, value, *details = [part.text.replace("\N{NO-BREAK SPACE}", " ") for part in _parts("tile-wer")]
    assert (heading, value) == ("Word error rate", "5.70 %")
    assert details == ["95 % interval 4.10–7.25 %", "30 substitutions, 20 deletions, 7 insertions in 1,000 words"]


def _parts(tile: str) -> list[Element]:
    return [child for child in page_of().by_id(tile).children if isinstance(child, Element)]


def test_a_measure_with_nothing_to_judge_by_has_no_tile_and_no_column():
    page = page_of(summary=NOTHING, rows=())
    tiles = {tile.attributes["id"] for tile in page.all(class_="tile")}
    assert tiles == {"tile-wer", "tile-cer", "tile-rtf", "tile-five-grams", "tile-fallbacks", "tile-failures"}
    assert [head.text for head in page.by_id("groups").all("thead")[0].all("th")][3:] == [
        "CER",
        "RTF",
        "5-grams",
        "Words",
        "N",
        "Failures",
    ]


def test_every_row_has_the_figures_of_its_group():
    table = page_of().by_id("groups").all("table")[0]
    rows = {row.all("th")[0].text: row.values for row in table.all("tr") if row.all("data")}
    assert list(rows) == ["All", "de", "en", "quiet"]
    assert rows["All"] == rows["en"]
    assert rows["de"][:3] == [0.12, 0.08, 0.18]
    cer, rtf = FIGURES.cer.rate, FIGURES.rtf
    qoi = 1172 / 1234
    assert rows["de"][3:] == [cer, rtf, pytest.approx(qoi), 0.98, 0.93, 3, 100, 9, 100, 40, 2]
    assert rows["quiet"] == [0, 0, 0, 0]  # a rate of no words is no number
    assert [head.text for head in table.all("tr") if not head.all("td")][1:] == ["Language", "Subset"]


def test_the_worst_clips_come_first_with_their_words_marked():
    good = clip(("two words", "two words"), name="good.wav")
    bad = clip(("go to", "go to"), ("the", "a"), ("old", ""), ("", "very"), ("end", "end"), name="bad.wav")
    worse = clip(("stop", "shop"), name="worse.wav")
    page = page_of(good, bad, worse)
    cards = page.by_id("worst").all("article")
    assert [card.all("h3")[0].text for card in cards] == ["worse.wav", "bad.wav"]
    marked = cards[1].all(class_="diff")[0]
    assert [(element.name, element.text) for element in marked.all()] == [
        ("del", "the"),
        ("ins", "a"),
        ("del", "old"),
        ("ins", "very"),
    ]
    assert marked.text.split() == ["go", "to", "the", "a", "old", "very", "end"]
    assert cards[1].all(class_="facts")[0].values[:3] == [0.6, 3, 5]


def test_text_where_nothing_is_said_is_among_the_worst_clips():
    silent = clip(("", "thank you"), name="silence.wav")
    (card,) = page_of(silent, clip(("a", "a"))).by_id("worst").all("article")
    assert "nothing is said, 2" in card.text
    assert "written" in card.text


def test_a_card_shows_both_texts_as_they_were_written_and_the_reference_models():
    odd = clip(("one", "won"), reference="ONE", hypothesis=" Won.", reference_model=reference_clip(" One!"))
    (card,) = page_of(odd).by_id("worst").all("article")
    assert [entry.text for entry in card.all("dd")] == ["ONE", " Won.", " One!"]


def test_a_wrongly_detected_language_is_told():
    (card,) = page_of(clip(("ja", "yes"), language="de", detected_language="en")).by_id("worst").all("article")
    assert "de, taken for en" in card.text
    assert card.all(class_="diff")[0].attributes["lang"] == "de"


def test_the_sound_of_a_worst_clip_is_inside_the_page():
    asked = []

    def audio_of(clip_id: str) -> bytes | None:
        asked.append(clip_id)
        return b"OggS and so on" if clip_id == "set/a.wav" else None

    clips = [clip(("a", "b"), name="a.wav"), clip(("a", "b"), name="b.wav"), clip(("a", "a"), name="c.wav")]
    page = parsed(html_page(document(*clips), audio_of))
    assert asked == ["set/a.wav", "set/b.wav"]
    (player,) = page.all("audio")
    kind, _, content = (player.attributes["src"] or "").partition(",")
    assert (kind, base64.b64decode(content)) == ("data:audio/ogg;base64", b"OggS and so on")
    assert "not in this page" in page.by_id("worst").all("article")[1].text


def test_a_long_clip_says_that_only_its_beginning_can_be_heard():
    long_clip, short_clip = clip(("a", "b"), duration=31.0), clip(("a", "b"), duration=30.0)
    for one, is_cut in ((long_clip, True), (short_clip, False)):
        assert ("first 30 s" in html_page(document(one), lambda _: b"OggS")) == is_cut


def test_failures_are_listed_with_their_reasons():
    rows = page_of(failures=(failure(), failure(audio="x.wav", error="gone"))).by_id("failures").all("tr")[1:]
    assert [[cell.text for cell in row.all() if cell.name in ("th", "td")] for row in rows] == [
        ["broken.wav", "set", "broken.wav is empty."],
        ["x.wav", "set", "gone"],
    ]


def test_the_table_of_all_clips_holds_each_of_them_for_its_script():
    first = clip(("a b", "a b"), ("c", "d"), name="first.wav", subset="clean", speaker="s1")
    silent = clip(name="silent.wav", language=None, duration=0.0)
    page = page_of(first, silent)
    rows = json.loads(page.by_id("clips-data").text)
    assert rows[0]["diff"] == [["=", "a b"], ["~", "c", "d"]]
    assert (rows[0]["wer"], rows[0]["errors"], rows[0]["words"]) == (pytest.approx(1 / 3), 1, 3)
    assert (rows[1]["wer"], rows[1]["rtf"], rows[1]["language"], rows[1]["diff"]) == (None, None, None, [])
    keys = [head.attributes["data-key"] for head in page.by_id("clips").all("th")]
    assert set(keys) <= rows[0].keys()
    script = page.all("script")[-1].text
    assert all(re.search(rf"^    {key}[:,]", script, re.MULTILINE) for key in keys), "the script draws every column"


def test_the_set_up_lists_model_options_machine_versions_and_data_sets():
    text = re.sub(r"\s+", " ", page_of().by_id("setup").text)
    for value in ("onnxruntime", "fp32", "0, 0.2", "yes", "auto", "A Fine Processor", "1.2.3", "1,236 clips, 5 clips"):
        assert value in text, value


def test_an_evaluation_without_results_still_makes_a_page():
    page = page_of(summary=NOTHING, rows=(), failures=(), datasets=(), options={}, reference_model=None, created="")
    assert page.by_id("worst").text.endswith("No clip was transcribed.")
    assert not any(page.has(part) for part in ("spread", "failures", "all"))
    assert "–" in page.by_id("tile-wer").text


def test_ten_thousand_clips_make_a_page_of_a_few_megabytes():
    many = [clip(("so", "so"), ("much", "match"), name=f"{number}.wav") for number in range(10_000)]
    page = html_page(document(*many), lambda _: b"OggS" + bytes(75_000))
    assert len(page) < 10_000 * 300 + N_WORST * 101_000 + 50_000
    assert page.count("<audio") == N_WORST


def test_a_text_of_an_hour_is_shortened_where_it_agrees():
    agreed = " ".join(f"word{number}" for number in range(9_000))
    diff = page_of(clip((agreed, agreed), ("end", "and"))).by_id("worst").all(class_="diff")[0]
    assert "word11 … 8,976 words alike … word8988" in diff.text
    assert len(diff.text) < 400
    assert diff.attributes["tabindex"] == "0"  # what scrolls must be within the keyboard's reach


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_the_document_becomes_markup(text: str):
    harmless, hostile = html_page(_filled_with("text"), no_audio), html_page(_filled_with(text), no_audio)
    # The same elements with the same attributes: only values and texts differ.
    assert _skeleton(parsed(hostile)) == _skeleton(parsed(harmless))
    hostile.encode("utf-8")
    page = parsed(hostile)
    assert re.sub("[\x00\x1b\ud800]", "\N{REPLACEMENT CHARACTER}", text) in page.by_id("worst").text
    audio = json.loads(page.by_id("clips-data").text)[0]["audio"]
    assert audio == text.replace("\ud800", "\N{REPLACEMENT CHARACTER}")  # JSON can hold the controls


def _filled_with(text: str) -> dict[str, Any]:
    one = clip(("x", "y"), name=text, reference_model=reference_clip(text))
    one = replace(one, dataset=text, reference=text, hypothesis=text, language=text, detected_language=text)
    one = replace(one, task=text, subset=text, speaker=text)
    one = replace(one, diff=tuple(replace(piece, reference=(text,), hypothesis=(text,)) for piece in one.diff))
    filled = document(one)
    for mapping in ("model", "options", "machine", "versions"):
        filled[mapping] = {"name": text, f"key {text}": text, "list": [text]}
    filled["datasets"][0]["name"] = filled["reference_model"]["name"] = filled["normalizer"] = text
    filled["created"] = text
    for row in filled["rows"]:
        row["by"] = row["name"] = text
    filled["failures"] = [dict.fromkeys(filled["failures"][0], text)]
    return filled


def _skeleton(element: Element) -> list[Any]:
    children = [_skeleton(child) for child in element.children if isinstance(child, Element)]
    return [element.name, list(element.attributes), children]


def test_the_browser_is_told_to_run_our_script_and_style_alone_and_to_fetch_nothing():
    page = page_of(clip(("a", "b")))
    (policy,) = [m.attributes["content"] for m in page.all("meta") if m.attributes.get("http-equiv")]
    directives = dict(part.strip().split(" ", 1) for part in (policy or "").split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["media-src"] == "data:"
    for name, directive in (("style", "style-src"), ("script", "script-src")):
        text = page.all(name)[-1].text
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"


def test_the_page_names_no_other_file_and_needs_no_inline_style():
    page = page_of(clip(("a", "b")))
    for element in page.all():
        assert "style" not in element.attributes  # the policy would block it
        for attribute in ("src", "href"):
            assert (element.attributes.get(attribute) or "#").startswith(("#", "data:"))
    assert "url(" not in page.all("style")[0].text
    assert "@import" not in page.all("style")[0].text


def test_the_same_document_gives_the_same_page():
    one = document(clip(("a", "b")))
    assert html_page(one, no_audio) == html_page(one, no_audio)


def test_identifiers_are_unique_and_links_lead_to_them():
    page = page_of(clip(("a", "b")))
    identifiers = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(set(identifiers)) == len(identifiers)
    for link in page.all("a"):
        assert (link.attributes["href"] or "").removeprefix("#") in identifiers


def test_an_error_rate_above_one_is_drawn_at_the_end_of_the_scale():
    wild = replace(FIGURES, wer=replace(FIGURES.wer, counts=EditCounts(hits=1, insertions=9), interval=(0.5, 12.0)))
    drawings = page_of(summary=wild, rows=()).by_id("groups").all("svg")
    assert [tick.text for tick in drawings[0].all("text")][-1] == "100 %"
    (dot,) = drawings[1].all("circle")
    assert (dot.attributes["class"], dot.attributes["cx"]) == ("beyond", "100.00%")
