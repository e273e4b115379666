import csv
import io

import pytest

from stagewhisper.benchmarking.results import document
from stagewhisper.benchmarking.tables import csv_text, markdown, missing, pieces
from stagewhisper.cli.benchmark_chart import start_parts
from stagewhisper.cli.benchmark_page import benchmark_page
from stagewhisper.cli.benchmark_png import write_png
from tests.benchmarking.made_up import refused, result

SLOW = result("transformers", (4.0, 4.0, 4.0), wer=0.25, same_tokens=0.5, host_bytes=2_000_000)
FAST = result("jax", (1.0, 1.0, 2.0), first=9.0, compile_s=7.0, imports=1.0, load=0.5, start=1.5)
BATCHED = result("jax", (0.5,), batch=8, mode="batched")
MISSING = refused("pytorch", "torch is <not> installed")
RESULTS = [SLOW, FAST, MISSING, BATCHED]


def whole(results=RESULTS, verdicts=()):
    decoding = {"n_beams": 1, "n_tokens": None}
    settings = {"decoding": decoding, "threads": 2, "repeats": 3, "interleave": True}
    machine = {"cpu": "A <fast> one", "n_cores": 2, "system": "Linux", "threads": 2}
    return document(
        results, settings=settings, machine=machine, versions={"python": "3"}, verdicts=list(verdicts),
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def test_each_piece_of_work_has_its_table_the_fastest_first():
    found = list(pieces(RESULTS))
    assert [title for title, _ in found] == [
        "nano, long (10 s of audio), one window after the other",
        "nano, long (10 s of audio), 8 windows side by side",
    ]
    assert [member.point.engine for member in found[0][1]] == ["jax", "transformers"]


def test_markdown_has_every_number_and_every_reason():
    verdict = {"claim": "It is fast", "verdict": "refuted", "reason": "It was not."}
    text = markdown(whole(verdicts=[verdict]), RESULTS)
    assert "| jax cpu float32 | 1.5 | 7 | 9 | 1 | 1.8 | 0.1 | 20 | – | – | – |" in text
    assert "| transformers cpu float32 | – | – | 1 | 4 | 4 | 0.4 | 5 | 25.0 % | 50 % | 2 |" in text
    assert "- **It is fast: refuted.** It was not." in text
    assert "- pytorch cpu float32 (long, batch 1): refused: torch is &lt;not> installed" in text
    assert "Decoding: greedy, to the end. 3 warm runs, in turn, 2 threads." in text


def test_a_reason_that_holds_everywhere_is_told_once():
    everywhere = [MISSING, refused("pytorch", "torch is <not> installed", batch=8, mode="batched"), FAST, BATCHED]
    assert missing(everywhere) == [("pytorch cpu float32", "refused: torch is <not> installed")]


def test_csv_has_a_line_for_each_point():
    rows = list(csv.DictReader(io.StringIO(csv_text(RESULTS))))
    assert [row["engine"] for row in rows] == ["transformers", "jax", "pytorch", "jax"]
    assert (rows[1]["median"], rows[1]["warm"], rows[2]["reason"]) == (
        "1.0", "1.000000 1.000000 2.000000", "torch is <not> installed",
    )  # fmt: skip


def test_what_jax_compiles_within_the_first_run_is_drawn_once():
    assert start_parts(FAST) == [("imports", 1.0), ("load", 0.5), ("compile", 7.0), ("first", 2.0)]
    before = result("onnxruntime", (1.0,), first=9.0, compile_s=7.0)
    assert start_parts(before)[2:] == [("compile", 7.0), ("first", 9.0)]


def test_the_page_shows_everything_and_nothing_unescaped():
    page = benchmark_page(whole(), RESULTS)
    assert page.count("<svg") == 4
    assert "torch is &lt;not&gt; installed" in page
    assert "A &lt;fast&gt; one" in page
    assert "<script" not in page


def test_a_picture_is_drawn_where_matplotlib_is_installed(tmp_path):
    pytest.importorskip("matplotlib")
    write_png(tmp_path / "results.png", RESULTS)
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_any_measurement_is_still_a_page():
    assert "Not measured" in benchmark_page(whole([MISSING]), [MISSING])
    assert csv_text([]) == "\n"
