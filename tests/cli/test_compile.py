"""`stagewhisper compile` on a small random checkpoint."""

import json
import re
from pathlib import Path

import pytest

from stagewhisper.bundle import is_bundle, read_bundle
from stagewhisper.cli import main
from stagewhisper.compiler import fastest_measure, load_recipe
from tests.checkpoints import random_dims, save_openai

QUICK = ["--check", "off"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dims = random_dims(n_audio_ctx=40, n_audio_layer=1, n_text_layer=1, n_audio_state=128, n_text_state=128)
    return save_openai(tmp_path_factory.mktemp("compile") / "random.pt", dims)


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command writes on stderr when it fails."""
    assert main(["compile", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def rows_of(lines: list[str], graph: str) -> list[list[str]]:
    """The cells of the table of one graph, from the header to the line under it."""
    start = next(index for index, line in enumerate(lines) if line.startswith(graph))
    end = next(index for index in range(start, len(lines)) if lines[index].startswith("─"))
    return [line.split() for line in lines[start:end]]


def test_a_bundle_is_made_and_each_pass_has_a_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(checkpoint), "--precision", "fp32", "-o", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    exact = load_recipe("exact")
    for graph in ("encoder", "decoder"):
        header, *rows = rows_of(lines, f"whisper_{graph}")
        assert header[1:] == ["rewrites", "operators", "weights,", "MB", "largest", "difference"]
        assert [row[0] for row in rows] == [step.name for step in exact.steps_for(graph)]
    assert lines[-3].startswith("recipe exact: fp32 for cpu; compared at the end; ")
    assert lines[-2].startswith("out: encoder ")
    assert lines[-1] == "Use it with: stagewhisper transcribe FILE --model out"
    assert read_bundle(Path("out")).precision == "fp32"


def test_without_a_place_the_bundle_goes_where_transcribe_finds_it(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(checkpoint), *QUICK]) == 0
    first = capsys.readouterr().out
    (bundle,) = Path("cache", "bundles").iterdir()
    place, use = first.splitlines()[-2:]
    assert place.startswith(f"{bundle.absolute()}: ")
    assert use == f"Use it with: stagewhisper transcribe FILE --model {checkpoint} --precision int8"
    assert read_bundle(bundle).precision == "int8", "the default of whoever compiles"
    made = bundle.stat().st_ino
    assert main(["compile", str(checkpoint), *QUICK]) == 0
    again = capsys.readouterr().out
    assert "; numbers were not compared; found in the cache, compiled in " in again
    assert again.replace("found in the cache, compiled in ", "") == first, "it tells what happened then"
    assert bundle.stat().st_ino == made


def test_what_was_compared_less_than_asked_for_is_compiled_again(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"off": "numbers were not compared", "end": "compared at the end", "each": "compared after each pass"}
    for check, done, was_there in (("off", "off", False), ("each", "each", False), ("end", "each", True)):
        assert main(["compile", str(checkpoint), "--precision", "fp32", "--check", check]) == 0
        line = capsys.readouterr().out.splitlines()[-3]
        assert said[done] in line
        assert ("found in the cache" in line) is was_there


def test_json_has_the_recipe_and_what_each_pass_did(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--precision", "int8", "--disable-pass", "quantize_cross_kv", *QUICK, "--json", "-o", "out"]
    assert main(["compile", str(checkpoint), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bundle"] == "out"
    assert document["recipe"] == load_recipe("int8").to_dict()
    assert document["check"] == "off"
    decoder = document["graphs"]["decoder"]
    assert decoder["switched_off"] == ["quantize_cross_kv"]
    assert decoder["bytes_after"] < decoder["bytes_before"] / 2
    assert read_bundle(Path("out")).recipe == "int8"


@pytest.mark.parametrize("arguments", [[], ["-o", "out"], ["--json"]])
def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(
    checkpoint: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(checkpoint), "--precision", "int8", "--dry-run", *arguments]) == 0
    output = capsys.readouterr().out
    if "--json" in arguments:
        document = json.loads(output)
        assert document["bundle"] is None
        names = [record["name"] for record in document["graphs"]["decoder"]["passes"]]
    else:
        assert output.endswith("recipe int8: int8 for cpu; nothing was written\n")
        names = [row[0] for row in rows_of(output.splitlines(), "whisper_decoder")[1:]]
    assert names == [step.name for step in load_recipe("int8").steps_for("decoder")]
    assert list(tmp_path.iterdir()) == []


BLOCKS = "{pass: quantize_blockwise, parameters: {%s}}"


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        (BLOCKS % "only: ['nosuch*']", "passes[1]: quantize_blockwise names layers 'nosuch*', and no float32 layer of"),
        (BLOCKS % "keep: ['decoder.*', 'nosuch*']", "passes[1]: quantize_blockwise names layers 'nosuch*', and no"),
        (BLOCKS % "keep: ['*']", "passes[1]: quantize_blockwise finds nothing to do in encoder and decoder. Leave it"),
        (f"{BLOCKS % 'bits: 8'}, {BLOCKS % 'bits: 8'}", "passes[2]: quantize_blockwise finds nothing to do"),
        ("{pass: quantize_static, graphs: decoder}", "passes[1]: quantize_static finds nothing to do in decoder."),
        ("{include: int8}, absorb_attention_scale", "passes[2]: absorb_attention_scale finds nothing to do"),
    ],
)
def test_a_pass_that_finds_nothing_to_do_is_an_error_unless_it_may(
    checkpoint: Path, passes: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"precision: int8\npasses: [{{include: pipeline}}, {passes}]"
    Path("mine.yaml").write_text(text)
    assert message in failure(capsys, checkpoint, "--recipe", "mine.yaml", "--dry-run")
    document = load_recipe(Path("mine.yaml")).to_dict()
    document["passes"] = [{**step, "optional": True} for step in document["passes"]]
    Path("mine.json").write_text(json.dumps(document))
    assert main(["compile", str(checkpoint), "--recipe", "mine.json", "--dry-run"]) == 0


@pytest.mark.parametrize("name", ["encoder.*", "decoder.blocks.0.mlp.0.weight", "vocabulary", "*_kv"])
def test_patterns_name_layers_as_they_were_or_as_they_are(checkpoint: Path, name: str) -> None:
    Path("mine.yaml").write_text(f"precision: int8\npasses: [{{include: pipeline}}, {BLOCKS % f'keep: [{name!r}]'}]")
    assert main(["compile", str(checkpoint), "--recipe", "mine.yaml", "--dry-run"]) == 0


def test_a_named_pass_that_does_nothing_leaves_no_bundle(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("precision: fp32\npasses: [{include: pipeline}, pack_qkv]")
    assert "pack_qkv finds nothing to do" in failure(capsys, checkpoint, "--recipe", "mine.yaml", *QUICK, "-o", "out")
    assert not Path("out").exists()


@pytest.mark.parametrize("check", ["each", "end"])
def test_times_before_and_after_are_measured_when_asked_for(
    checkpoint: Path, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("precision: fp32\npasses: [{include: pipeline}]")
    arguments = ["compile", str(checkpoint), "--recipe", "mine.yaml", "--check", check]
    assert main(arguments) == 0
    assert " ms " not in capsys.readouterr().out
    assert main([*arguments, "--time"]) == 0
    output = capsys.readouterr().out
    assert "found in the cache" not in output
    decoder = output.split("whisper_decoder")[1]
    assert decoder.splitlines()[0].split()[-3:] == ["ms", "largest", "difference"]
    times = re.compile(r" \d+\.\d\d( → \d+\.\d\d)?  ")
    timed = [line.split()[0] for line in decoder.splitlines() if times.search(line)]
    assert timed[-1] == "all"
    assert ("pack_qkv" in timed) == (check == "each")
    assert main([*arguments, "--time", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for graph in document["graphs"].values():
        assert graph["ms_before"].keys() == graph["ms_after"].keys() != set()
    assert "Leave out --time" in failure(capsys, checkpoint, "--time", "--check", "off")


def test_what_is_no_bundle_is_not_overwritten(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.txt").write_text("mine")
    Path("folder").mkdir()
    Path("folder", "notes.txt").write_text("mine")
    for name in ("notes.txt", "folder", checkpoint):
        assert "is there already and is no bundle" in failure(capsys, checkpoint, "-o", name)
    assert Path("notes.txt").read_text() == Path("folder", "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 300, "File name too long"), ("file/b", "Not a directory"), ("..", "the folder that you are in")],
)
def test_a_place_that_cannot_be_written_is_named_before_a_model_is_looked_for(
    name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("mine")
    message = failure(capsys, "no-such-model", "-o", name)
    assert reason in message
    assert "Name another place for it" in message
    assert "cache" not in message


def test_a_bundle_and_an_empty_folder_make_room(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    assert main(["compile", str(checkpoint), "-o", "out", *QUICK]) == 0
    exact = ["--precision", "fp32", "--disable-pass", "broadcast_tile"]
    assert main(["compile", str(checkpoint), "-o", "out", *QUICK, *exact]) == 0
    assert is_bundle(Path("out"))
    assert "switched off: broadcast_tile" in capsys.readouterr().out
    assert "is compiled already" in failure(capsys, "out")


def test_a_recipe_may_name_the_model(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(f"model: {checkpoint}\nprecision: fp32\npasses: [broadcast_tile]\n")
    assert main(["compile", "--recipe", "mine.yaml", "-o", "out", *QUICK]) == 0
    assert [row[0] for row in rows_of(capsys.readouterr().out.splitlines(), "whisper_decoder")[1:]] == [
        "broadcast_tile"
    ]
    assert read_bundle(Path("out")).recipe == "mine"
    assert "No model was named, and the recipe int8.yaml names none" in failure(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "fast"], "No recipe named 'fast'. Known: exact, gpu-fp16, int8, small"),
        (["--recipe", "gone.yaml"], "Cannot read the recipe gone.yaml"),
        (
            ["--recipe", "small", "--precision", "int8"],
            "--precision asks for int8, and the recipe small.yaml makes int4",
        ),
        (["--disable-pass", "nothing"], "No pass named 'nothing' to switch off. Known: "),
        (
            ["--disable-pass", "absorb_attention_scale"],
            "The recipe 'int8' has no pass 'absorb_attention_scale' to switch off",
        ),
        (
            ["--precision", "int8", "--disable-pass", "broadcast_tile"],
            "quantize_cross_kv needs broadcast_tile before it",
        ),
        (["--precision", "int3"], "invalid choice: 'int3'"),
        (["--check", "never"], "invalid choice: 'never'"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_wrong_options_are_named_before_a_model_is_looked_for(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, "no-such-model", *arguments)


def test_a_model_that_is_not_here_is_not_fetched_for_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not on this machine" in failure(capsys, "tiny", "--dry-run")


def test_auto_prints_what_was_measured_and_measures_once(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest_measure, "UNSTEADY", 1e6)
    monkeypatch.setattr(fastest_measure, "N_ROUNDS", 1)
    arguments = ["compile", str(checkpoint), "--precision", "auto", *QUICK]
    assert main([*arguments, "-o", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("vocabulary: ") and " ms (not " in line for line in lines) == 1
    assert lines[-3].startswith("recipe auto: int8 for cpu; ")
    assert read_bundle(Path("out")).recipe == "auto"
    monkeypatch.setattr(fastest_measure, "measured", None)
    assert main([*arguments, "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "recipe auto: int8 for cpu; nothing was written" in output
    assert " ms (not " in output
    assert "not measured" not in output


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_dry_run_of_auto_measures_nothing_and_says_so(
    checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fastest_measure, "measured", None)
    assert main(["compile", str(checkpoint), "--precision", "auto", "--dry-run", *arguments]) == 0
    output = capsys.readouterr().out
    assert output.count("not measured here yet, so these are the answers of the recipe int8") == 1
    assert "vocabulary: blocks of 8 bits" in output
    assert list(tmp_path.iterdir()) == []


def test_auto_and_a_recipe_exclude_each_other(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = failure(capsys, checkpoint, "--precision", "auto", "--recipe", "small")
    assert "--precision auto makes a recipe of its own: leave out --recipe" in message
