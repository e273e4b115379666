"""`stagewhisper search` on the embedded model and a clip of one word, and what is refused before any work."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stagewhisper.bundle import read_bundle
from stagewhisper.cli import main
from stagewhisper.cli.search import _write as write_found
from stagewhisper.cli.search_page import search_page
from stagewhisper.cli.search_report import search_lines
from stagewhisper.compiler import load_recipe
from stagewhisper.compiler.search_lock import alone_in
from tests.compiler.searched import N_RECIPES, Laboratory, laboratory, recipe_of, refuse_four_bits
from tests.evaluation.parsed_page import Element, parsed
from tests.sample import SAMPLE

__all__ = ["laboratory"]

RECIPE = """\
model: nano
precision: int8
passes:
  - include: exact
  - {pass: quantize_blockwise, graphs: decoder, parameters: {bits: 8}, tolerance: 0.001}
  - quantize_dynamic
evaluators:
  - {metric: wer, data: [clips], goal: {at_most: 100, than: exact}}
  - {metric: qoi, data: [clips], limit: 1}
  - {metric: window_ms, goal: best}
  - {metric: bundle_mb, goal: best}
  - {metric: memory_mb}
search:
  trials: 4
  space:
    quantize_blockwise: [false, true]
    quantize_dynamic.per_channel: [true, false]
"""


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A recipe, its clip beside it, and what a search of it left in `out`; the output is in `out.txt`."""
    made = tmp_path_factory.mktemp("search")
    write(made)
    return made


def write(folder: Path, text: str = RECIPE) -> Path:
    (folder / "clips").mkdir(exist_ok=True)
    line = {"audio": str(SAMPLE), "text": "seven", "language": "en"}
    (folder / "clips" / "manifest.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return folder / "mine.yaml"


def searched(folder: Path, *arguments: str) -> int:
    return main(["search", str(folder / "mine.yaml"), "-o", str(folder / "out"), "--threads", "1", *arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["search", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def test_points_are_measured_once_and_everything_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert searched(folder) == 0
    first = capsys.readouterr().out
    out = folder / "out"
    document = json.loads((out / "front.json").read_text(encoding="utf-8"))
    assert (document["model"], document["recipe"], len(document["points"])) == ("nano", "mine", 4)
    failed = [point for point in document["points"] if point["state"] == "failed"]
    assert [point["choices"]["quantize_blockwise"] for point in failed] == [True, True], (
        "0.001 is too little for 8 bits"
    )
    assert all("quantize_blockwise" in point["reason"] for point in failed)
    keys = {"wer", "cer", "qoi", "wer#2", "cer#2", "qoi#2", "bundle_mb", "memory_mb"}
    keys |= {"encoder_ms", "prompt_ms", "step_ms", "window_ms"}
    (reference,) = document["references"].values()
    done = [point for point in document["points"] if point["state"] == "done"]
    assert all(set(record["metrics"]) == keys for record in (reference, *done))
    assert reference["metrics"]["qoi"] == 100
    assert done[0]["metrics"]["bundle_mb"] < reference["metrics"]["bundle_mb"] / 2
    assert reference["metrics"]["window_ms"] > reference["metrics"]["encoder_ms"] > 0
    assert 20 < reference["metrics"]["memory_mb"] < 2000
    assert len((out / "footprint.jsonl").read_text(encoding="utf-8").splitlines()) == 5
    best = load_recipe(out / "best.yaml")
    assert read_bundle(out / "best").recipe_digest == best.digest_without() == document["best"]
    assert f"4 points, 2 failed, {sum(p['on_front'] for p in document['points'])} on the front" in first
    written = (out / "footprint.jsonl").stat().st_mtime_ns
    assert searched(folder) == 0
    assert capsys.readouterr().out == first, "the second time all is known"
    assert (out / "footprint.jsonl").stat().st_mtime_ns == written


def test_the_best_recipe_can_be_compiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (folder / "out" / "best.yaml").exists():
        write(folder)
        assert searched(folder) == 0
    assert main(["compile", "nano", "--recipe", str(folder / "out" / "best.yaml"), "--dry-run"]) == 0
    assert "recipe mine-" in capsys.readouterr().out


def test_no_point_within_the_limits_is_an_error_with_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tight = RECIPE.replace("{metric: memory_mb}", "{metric: memory_mb, goal: {at_most: 1}}")
    write(folder, tight)
    assert searched(folder) == 2
    error = capsys.readouterr().err
    assert "No point of" in error
    assert "memory_mb is " in error
    assert ", and the limit 1. Loosen the limit" in error
    assert not (folder / "out" / "best.yaml").exists()
    assert (folder / "out" / "front.html").exists()


@pytest.mark.parametrize(
    ("old", "new", "arguments", "message"),
    [
        ("", "", ["--trials", "0"], "--trials is 0, and has to be 1 or more"),
        ("", "", ["--limit", "-3"], "--limit is -3, and has to be 1 or more"),
        ("", "", ["--threads", "-1"], "--threads is -1, and has to be 1 or more, or 0"),
        ("", "", ["--data", "gone"], "There is no data set 'gone'"),
        ("[clips]", "[clops]", [], "clops' is no data set|There is no data set '.*clops'"),
        ("search:", "research:", [], "there is no key 'research'. Did you mean 'search'"),
        ("per_channel: [true, false]", "per_channel: [true, 7]", [], "per_channel of quantize_dynamic is 7"),
        ("model: nano", "model: gone.pt", [], "gone.pt"),
        ("model: nano\n", "", [], "No model was named, and the recipe .*mine.yaml names none. Name one: --model base"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, old: str, new: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path, RECIPE.replace(old, new) if old else RECIPE)
    assert re.search(message, failure(capsys, recipe, "-o", tmp_path / "out", *arguments))
    assert not (tmp_path / "out" / "footprint.jsonl").exists()


def test_a_second_search_in_the_same_folder_is_refused_before_a_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path, RECIPE.replace("model: nano", "model: gone.pt"))
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"):
        error = failure(capsys, recipe, "-o", tmp_path / "out")
    assert re.search(r"Another search \(process \d+\) is at work in .*out\. Wait until it ends, or name", error)
    assert "gone.pt" in failure(capsys, recipe, "-o", tmp_path / "out")


def test_a_recipe_without_a_search_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "exact.yaml says nothing of a search. Add `search`" in failure(capsys, "exact", "-o", "out")
    Path("taken").write_text("a file")
    recipe = write(Path.cwd())
    assert "Cannot write to taken" in failure(capsys, recipe, "-o", "taken")


def record(window_ms: float, wer: float, **changes: Any) -> dict[str, Any]:
    metrics = {"bundle_mb": 5.0, "window_ms": window_ms, "wer": wer}
    made = {"recipe": f"{window_ms}", "choices": {"pack<qkv>": True, "bits": [4, "a&b"]}, "state": "done"}
    return {**made, "metrics": metrics, "reason": None, "on_front": True, "keeps_limits": True, **changes}


@pytest.fixture
def document() -> dict[str, Any]:
    failed = record(0, 0, state="failed", metrics={}, reason="a pass <broke> it", on_front=False, keeps_limits=False)
    axis = {"metric": "", "than": None, "limit": None, "larger_is_better": False}
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "recipe": "mine",
        "model": "models/<base>",
        "strategy": "joint",
        "trials": 5,
        "seed": 0,
        "space": {"bits": [4, 8]},
        "axes": [
            {**axis, "key": "wer", "goal": "at_most", "limit": 11.5, "than": "exact"},
            {**axis, "key": "window_ms", "goal": "best"},
        ],
        "references": {"exact": record(40, 11.3, choices={})},
        "points": [record(30, 11.0), record(20, 11.4), record(25, 12, on_front=False, keeps_limits=False), failed],
        "best": "20",
        "circumstances": {"machine": {"cpu": "Z80"}},
    }


@pytest.fixture
def page(document: dict[str, Any]) -> Element:
    return parsed(search_page(document))


def test_what_was_found_is_written_and_told(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.on_compile = refuse_four_bits
    recipe = recipe_of(tmp_path)
    found = laboratory.search(recipe)
    write_found(found, recipe, tmp_path, model="base")
    assert found.best is not None
    assert load_recipe(tmp_path / "best.yaml").digest_without() == found.best.recipe
    page = parsed((tmp_path / "front.html").read_text(encoding="utf-8"))
    assert len(page.all("circle")) == N_RECIPES - 4
    assert len(page.by_id("failed").all("tr")) == 1 + 4
    header, reference, *front = search_lines(found, tmp_path)
    assert header.split() == ["wer", "window_ms"]
    assert reference.split()[:2] == ["exact", "(reference)"]
    assert sum(line.startswith("* ") for line in front) == 1
    assert f"{N_RECIPES} points, 4 failed, {len(found.front)} on the front; * is the best" in "\n".join(front)


def test_the_page_shows_front_points_and_failures(page: Element) -> None:
    assert page.all("h1")[0].text == "mine, models/<base>"
    assert page.all(class_="lede")[0].text == "wer 11.3 → 11.4. window_ms 40 → 20. "
    front = [[cell.text for cell in row.all("td")] for row in page.by_id("front").all("tr")[1:]]
    assert front == [["11.3", "40", "5", "kept"], ["11.4", "20", "5", "kept"], ["11", "30", "5", "kept"]]
    assert [row.all("th")[0].text for row in page.by_id("points").all("tr", class_="best")] == [
        "pack<qkv> true, bits [4, a&b]"
    ]
    assert [cell.text for cell in page.by_id("failed").all("td")] == ["a pass <broke> it"]
    assert "at most 11.5, counted from exact" in page.by_id("setup").text


def test_the_chart_has_the_front_from_left_to_right(page: Element) -> None:
    places = {dot.attributes["cx"]: float(dot.attributes["cy"] or 0) for dot in page.all("circle")}
    left, middle, right = sorted(places, key=lambda text: float((text or "").rstrip("%")))
    assert places[middle] < places[left] < places[right], "12 % above 11.4 % above 11.0 %, in pixels from the top"
    assert page.all("circle", class_="best")[0].attributes["cx"] == left
    assert len(page.all("line", class_="front")) == 2
    assert len(page.all("line", class_="mark")) == 1


def test_the_page_fetches_nothing_and_runs_no_script(document: dict[str, Any]) -> None:
    text = search_page(document)
    assert "<script" not in text
    policies = [meta.attributes.get("content") or "" for meta in parsed(text).all("meta")]
    assert any(policy.startswith("default-src 'none'; style-src 'sha256-") for policy in policies)
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_without_a_best_point_or_a_second_axis_can_be_made(document: dict[str, Any]) -> None:
    document["best"], document["axes"] = None, document["axes"][1:]
    document["points"] = [document["points"][3]]
    page = parsed(search_page(document))
    assert page.all(class_="lede")[0].text == "No point keeps to all limits."
    assert not page.all("figure")
