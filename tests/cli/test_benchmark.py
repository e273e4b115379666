"""The whole command with the embedded model, on one short recording, and what it refuses."""

import json
import shutil

import pytest

from stagewhisper.benchmarking import article
from stagewhisper.cli import main
from tests.sample import SAMPLE, SAMPLE_TEXT

SMALL = ("--utterances", "1", "--repeats", "1", "--threads", "1", "--mode", "sequential")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, cache_dir):
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))


def benchmark(folder, *options):
    return main(["benchmark", "-o", str(folder), *options])


@pytest.fixture(scope="module")
def measured(folder, cache_dir):
    """Two of our engines, another program, and a device that is not here; the tests below read what it has written."""
    engines = ("--engines", "onnxruntime,pytorch,openai-whisper", "--device", "cpu,mps", "--cold", "False")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
        assert benchmark(folder, *SMALL, *engines) == 0
    return json.loads((folder / "results.json").read_text(encoding="utf-8")), engines


def points(document):
    return {(p["point"]["engine"], p["point"]["device"]): p for p in document["points"]}


def test_ours_and_others_hear_the_same_and_are_timed_apart(measured):
    for engine in ("onnxruntime", "pytorch", "openai-whisper"):
        point = points(measured[0])[engine, "cpu"]
        assert (point["state"], point["wer"], point["same_tokens"], point["n_tokens"]) == ("done", 0.0, 1.0, 2)
        assert len(point["warm"]) == 1
        assert all(point[name] > 0 for name in ("start", "imports", "load", "first", "median", "rtf", "host_bytes"))
        assert point["start"] > point["imports"] + point["load"]
        assert (point["compile"] is None) == (engine != "onnxruntime")
        assert engine in point["versions"] or "torch" in point["versions"]


def test_a_point_that_cannot_be_is_recorded_with_its_reason(measured):
    found = points(measured[0])
    assert found["onnxruntime", "mps"]["reason"] == "onnxruntime does not run on mps; it runs on cpu"
    assert found["pytorch", "mps"]["state"] == "refused"
    assert len(found) == 6


def test_every_file_is_written_and_tells_the_same(measured, folder):
    assert "| openai-whisper cpu float32 |" in (folder / "results.md").read_text(encoding="utf-8")
    assert (folder / "results.csv").read_text(encoding="utf-8").count("\n") == 7
    assert "openai-whisper cpu float32" in (folder / "results.html").read_text(encoding="utf-8")


def test_the_same_command_again_measures_nothing_anew(measured, folder, capsys, monkeypatch):
    monkeypatch.setattr("stagewhisper.benchmarking.measure.Worker", None)  # nobody may be started
    monkeypatch.setattr("stagewhisper.benchmarking.run.measure_group", lambda tasks, **_: dict.fromkeys(tasks, 1 / 0))
    journal = (folder / "points.jsonl").read_bytes()
    assert benchmark(folder, *SMALL, "--engines", "onnxruntime,pytorch,openai-whisper", "--cold", "False") == 0
    assert (folder / "points.jsonl").read_bytes() == journal
    assert "onnxruntime cpu float32" in capsys.readouterr().out


def test_a_data_set_brings_its_texts_and_languages(tmp_path, capsys):
    data = tmp_path / "set"
    data.mkdir()
    shutil.copy(SAMPLE, data / "seven.wav")
    lines = [{"audio": "seven.wav", "text": text, "language": "en"} for text in (SAMPLE_TEXT, "Eight.")]
    (data / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = ("--engines", "pytorch", "--data", str(data), "--repeats", "1", "--threads", "1", "--batch", "2")
    assert benchmark(tmp_path / "out", *options, "--mode", "batched") == 0
    (point,) = json.loads((tmp_path / "out" / "results.json").read_text())["points"]
    assert (point["point"]["audio"], point["point"]["batch"], point["wer"]) == ("set", 2, 0.5)


def test_where_nothing_could_be_measured_the_files_say_why_and_the_exit_code_is_2(tmp_path, capsys):
    assert benchmark(tmp_path, *SMALL, "--engines", "reference", "--timeout", "0.01") == 2
    assert "No point could be measured" in capsys.readouterr().err
    (point,) = json.loads((tmp_path / "results.json").read_text())["points"]
    assert (point["state"], point["reason"]) == ("failed", "it gave no answer within 0.01 s, and was ended")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engines", "whisperx"], "No engine named 'whisperx'"),
        (["--engines", "jax,,pytorch"], "has an empty place"),
        (["--batch", "many"], "--batch has 'many'; expected whole numbers and none"),
        (["--tokens", "some"], "--tokens has 'some'; expected a whole number, or free"),
        (["--tokens", "500"], "500 tokens were asked for"),
        (["--repeats", "0"], "0 repeats were asked for"),
        (["--beam-size", "0"], "0 beams were asked for"),
        (["--random-shape", "huge"], "No shape named 'huge'"),
        (["--seconds", "-3"], "--seconds is -3"),
        (["--language", "klingon"], "klingon"),
        (["--limit", "3"], "--limit counts the clips of data sets"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--model", "no/where/at.pt"], "no/where/at.pt"),
        (["--preset", "nonsense"], "nonsense"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path, capsys, options, message):
    assert benchmark(tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class TestPreset:
    def grid(self, *options):
        from stagewhisper.cli.benchmark_setup import benchmark_of
        from stagewhisper.cli.program import build_parser

        arguments = build_parser().parse_args(["benchmark", "--preset", "article", *options])
        return benchmark_of(arguments, cache_dir=None, offline=True, revision=None)

    def test_it_is_the_articles_design(self):
        found = self.grid()
        assert (found.grid.engines, found.grid.dtypes) == (("jax", "pytorch", "transformers"), ("float32", "bfloat16"))
        assert {(point.mode, point.batch) for point in found.grid.points()} == {("batched", 16), ("sequential", 1)}
        assert {name: len(w.recordings) for name, w in found.workloads.items()} == {"long": 1, "utterances": 100}
        assert found.workloads["long"].duration == article.SECONDS == 480
        assert len(found.grid.points()) == 3 * 2 * 2 * 2

    def test_other_options_come_before_it(self):
        found = self.grid("--engines", "jax,pytorch", "--batch", "4,none", "--utterances", "3", "--seconds", "40")
        assert (found.grid.engines, found.grid.batches) == (("jax", "pytorch"), (4, 1))
        assert (len(found.workloads["utterances"].recordings), found.workloads["long"].duration) == (3, 40)
