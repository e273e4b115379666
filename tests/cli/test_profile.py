"""`stagewhisper profile` on a small random checkpoint, which it compiles first."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.cli import main
from stagewhisper.cli.profile_page import profile_page
from stagewhisper.compiler import compiled
from tests.checkpoints import random_dims, save_openai
from tests.evaluation.parsed_page import Element, parsed

QUICK = ["--threads", "1", "--repeats", "3", "--at", "3,7"]
PHASES = ["encoder", "prompt", "step at 3", "step at 7"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=51_865, n_text_ctx=64)
    return save_openai(tmp_path_factory.mktemp("profile") / "random.pt", dims)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, cache_dir: Path) -> Bundle:
    return compiled(load_checkpoint(checkpoint), cache_dir=cache_dir)


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def document(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `--json` writes of a comparison."""
    path = tmp_path_factory.mktemp("document") / "profile.json"
    names = [str(bundle.path), "--compare", str(bundle.path)]
    assert main(["profile", *names, *QUICK, "--json", str(path)]) == 0
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> Element:
    return parsed(profile_page(document))


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_checkpoint_is_compiled_and_profiled(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(checkpoint), *QUICK, "--nodes", "2"]) == 0
    lines = lines_of(capsys)
    assert lines[0].startswith(f"{checkpoint}: fp32, ")
    assert lines[1].startswith("1 window, 1 thread; this machine: ")
    assert [line.split(":")[0] for line in lines if " ms (p90 " in line] == PHASES
    assert sum(line.startswith("MatMul ") for line in lines) == len(PHASES)
    slowest = [index for index, line in enumerate(lines) if "slowest nodes of" in line]
    assert len(slowest) == len(PHASES)
    for index in slowest:
        assert lines[index + 1].split() == ["node", "operator", "ms", "share"]
        assert lines[index + 4 :][:1] in ([""], [])
    distances = lines[lines.index("distance to the floor that the machine's rates set") + 2 :]
    assert [line.split("  ")[0] for line in distances] == PHASES


def test_a_comparison_has_the_same_operators_in_the_same_row(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(bundle.path), "--compare", str(bundle.path), *QUICK, "--beams", "2"]) == 0
    lines = lines_of(capsys)
    assert "1 window × 2 beams" in lines[2]
    (encoder,) = [line for line in lines if line.startswith("encoder: ")]
    assert encoder.endswith("× as fast")
    rows = [line.split() for line in lines if line.startswith("MatMul ")]
    assert len(rows) == len(PHASES)
    for _, count, before, _, _, other_count, after, _, _, ratio in rows:
        assert count == other_count
        assert float(ratio) == pytest.approx(float(before) / float(after), rel=0.05)


def test_files_have_what_was_measured(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", "out.json", "--trace", "trace.json", "--html", "out.html"]
    assert main(["profile", str(bundle.path), *QUICK, "--batch", "2", *files]) == 0
    document = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [phase["name"] for phase in document["bundles"][0]["phases"]] == PHASES
    assert document["machine"]["threads"] == 1
    assert document["options"]["n_audio"] == 2
    assert document["versions"]["onnxruntime"]
    trace = json.loads(Path("trace.json").read_text(encoding="utf-8"))["traceEvents"]
    named = [event["args"]["name"] for event in trace if event["name"] == "thread_name"]
    assert named == PHASES
    assert Path("out.html").read_text(encoding="utf-8") == profile_page(document)


def test_the_page_has_a_bar_for_each_operator_of_each_bundle(document: dict[str, Any], page: Element) -> None:
    for name in PHASES:
        section = page.by_id(name.replace(" ", "-"))
        phases = [phase for bundle in document["bundles"] for phase in bundle["phases"] if phase["name"] == name]
        op_types = {operator["op_type"] for operator in phases[0]["operators"]}
        assert {row.text for row in section.all("th") if row.attributes["scope"] == "row"} == {*op_types, "all"}
        assert len(section.all("rect")) == 2 * len(op_types)


def test_the_page_has_the_roofline_with_a_point_for_each_phase(page: Element) -> None:
    chart = page.by_id("roofline").all("svg")[0]
    assert len(chart.all("circle")) == 2 * len(PHASES)
    assert len(chart.all(class_="roof")) == 3
    for point in chart.all("circle"):
        x, y = (float((point.attributes[name] or "").rstrip("%")) for name in ("cx", "cy"))
        assert 0 <= x <= 100
        assert 0 <= y <= 330
    labels = [text.text for text in chart.all("text")]
    assert [label for label in labels if label in PHASES] == PHASES


def test_the_page_fetches_nothing_and_escapes_names(document: dict[str, Any]) -> None:
    named = {**document, "bundles": [{**bundle, "name": "<script>x"} for bundle in document["bundles"]]}
    page = profile_page(named)
    assert "<script" not in page
    assert "&lt;script&gt;x" in page
    assert "http" not in page.replace("http-equiv", "")
    policy = parsed(page).all("meta")[1].attributes["content"] or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "0"], "--batch is 0, and has to be 1 or more."),
        (["--beams", "-2"], "--beams is -2, and has to be 1 or more."),
        (["--prompt-tokens", "0"], "--prompt-tokens is 0, and has to be 1 or more."),
        (["--repeats", "0"], "--repeats is 0, and has to be 1 or more."),
        (["--repeats", "1000"], "repeats is 1000, and has to be 200 or less."),
        (["--threads", "-1"], "--threads is -1"),
        (["--nodes", "-1"], "--nodes is -1"),
        (["--at", "-1,3"], "expected positions from 0 on, got '-1,3'"),
        (["--at", "1;2"], "expected a whole number, got '1;2'"),
        (["--json", "none/out.json"], "Cannot write 'none/out.json': No such file or directory"),
        (["--trace", "none/out.json"], "Cannot write 'none/out.json'"),
        (["--html", "none/out.html"], "Cannot write 'none/out.html'"),
        (["another"], "unexpected argument 'another'"),
        (["--other-precision", "int8"], "--other-precision int8 is for a second model, and there is none. Name it"),
        (["--precision", "fp16"], "--precision fp16 is for GPUs, and a profile measures on the CPU"),
        (["--compare", "other", "--other-precision", "fp16"], "--other-precision fp16 is for GPUs"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_looked_for(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagewhisper.cli.profile.find_bundle", lambda *_, **__: pytest.fail("a model was looked for"))
    assert main(["profile", "some", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_position_that_the_model_does_not_have_is_refused(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(bundle.path), "--at", "3,64"]) == 2
    assert "There is no step at position 64: this model's go from 0 to 63" in capsys.readouterr().err


def test_a_model_that_is_not_here_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "./nowhere", "--offline"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_damaged_bundle_is_named(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{}")
    assert main(["profile", str(damaged)]) == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
def test_a_model_compiled_for_gpus_is_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    shutil.copytree(bundle.path, tmp_path / "half")
    manifest = tmp_path / "half" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**content, "target": "gpu", "precision": "fp16"}), encoding="utf-8")
    names = [str(bundle.path)]
    names.insert(place, "half")
    assert main(["profile", names[0], "--compare", names[1], *QUICK]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "half is compiled in fp16 for GPUs; a profile measures on the CPU" in printed.err
