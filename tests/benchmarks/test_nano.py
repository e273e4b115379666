"""What is stored of nano's hearing is what a user gets, and of which weights it is."""

import hashlib
import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from stagewhisper.cli import main
from stagewhisper.evaluation import evaluate, load_datasets
from stagewhisper.hub.known import EMBEDDED, embedded_path
from tests.evaluation.planted import FakeModel, write_manifest
from tests.sample import SAMPLE, SAMPLE_TEXT

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`benchmarks/nano.py` as a module; it imports what lies beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("benchmarks.nano")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two sets of planted errors: 1 of 6 words wrong in "one", 1 of 3 in "two"."""
    for name, records in {
        "one": [{"audio": "a.wav", "text": "The cat sat on the mat."}],
        "two": [{"audio": "b.wav", "text": "stop now please"}],
    }.items():
        (tmp_path / "sets" / name).mkdir(parents=True)
        write_manifest(tmp_path / "sets" / name, records)
    return tmp_path / "sets"


def test_each_set_has_its_own_figures_even_if_it_is_the_only_one(benchmark: Any, sets: Path) -> None:
    both = benchmark.by_set(evaluate(FakeModel(), load_datasets([sets / "one", sets / "two"])))
    assert {name: row["wer"]["rate"] for name, row in both.items()} == {"one": 1 / 6, "two": 1 / 3, "all": 2 / 9}
    alone = benchmark.by_set(evaluate(FakeModel(), load_datasets([sets / "two"])))
    assert {name: row["wer"]["rate"] for name, row in alone.items()} == {"two": 1 / 3, "all": 1 / 3}


def test_a_set_that_is_not_there_is_named(benchmark: Any, sets: Path) -> None:
    assert [dataset.name for dataset in benchmark.datasets_in(sets, only=["two"])] == ["two"]
    with pytest.raises(SystemExit, match=r"No set three in .*There are: one, two"):
        benchmark.datasets_in(sets, only=["two", "three"])
    with pytest.raises(SystemExit, match="No set at all"):
        benchmark.datasets_in(sets / "one")


class TestRun:
    """The whole program with the embedded model, on the sample."""

    @pytest.fixture
    def stored(
        self, benchmark: Any, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, dict[str, Any]]:
        """What it stores, by name; nothing is written into the project."""
        found: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(benchmark.report, "store", found.__setitem__)
        monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
        folder = tmp_path / "sets" / "seven"
        folder.mkdir(parents=True)
        shutil.copy(SAMPLE, folder / "seven.wav")
        (folder / "manifest.jsonl").write_text(json.dumps({"audio": "seven.wav", "text": SAMPLE_TEXT}))
        return found

    def run(self, benchmark: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
        arguments = ["nano.py", "--sets", str(folder / "sets"), "--threads", "1", "--store", "x", *options]
        monkeypatch.setattr(sys, "argv", arguments)
        benchmark.main()

    def test_figures_are_stored_with_the_weights_digest_and_clips_by_normaliser(
        self, benchmark: Any, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.run(benchmark, tmp_path, monkeypatch, "--clips", str(tmp_path / "clips.json"))
        digest = hashlib.sha256((embedded_path() / "model.safetensors").read_bytes()).hexdigest()
        assert stored["x"]["model"] == {"name": EMBEDDED, "sha256": digest}
        main(["evaluate", str(tmp_path / "sets" / "seven"), "--model", EMBEDDED, "--json", str(tmp_path / "cli.json")])
        by_command_line = json.loads((tmp_path / "cli.json").read_text(encoding="utf-8"))["options"]
        measured = json.loads(json.dumps(stored["x"]["options"]))
        assert measured.items() <= by_command_line.items()
        assert (measured["beam_size"], measured["best_of"], len(measured["temperature"])) == (5, 5, 6)
        assert [stored["x"][normalizer]["seven"]["n_clips"] for normalizer in ("basic", "english")] == [1, 1]
        clips = {name: json.loads((tmp_path / f"clips-{name}.json").read_text()) for name in ("basic", "english")}
        assert {name: document["normalizer"] for name, document in clips.items()} == {
            "basic": "basic",
            "english": "english",
        }
        assert clips["basic"]["options"]["beam_size"] == 5

    def test_a_part_of_the_sets_is_shown_and_not_stored(
        self,
        benchmark: Any,
        stored: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.run(benchmark, tmp_path, monkeypatch, "--only", "seven")
        assert stored == {}
        assert capsys.readouterr().out.count("seven  ") == 2


def test_stored_figures_of_the_shipped_model_are_of_the_embedded_weights(benchmark: Any) -> None:
    path = BENCHMARKS / "results" / "nano.json"
    if not path.is_file():
        pytest.skip("not measured yet")
    stored = json.loads(path.read_text(encoding="utf-8"))["figures"]
    assert stored["model"]["sha256"] == benchmark.weights_digest(EMBEDDED), "run benchmarks/nano.py"
