"""Recipes say what is done, and whatever is wrong in one is named with its file and its place."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.compile_graphs import compile_graphs
from stagewhisper.compiler.parameter_types import described, fits, parameters_of
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.pipeline import FP32
from stagewhisper.compiler.recipe import GRAPHS, RECIPE_OF_PRECISION, Recipe, load_recipe, recipe_names
from stagewhisper.compiler.recipe_rules import check_recipe, without
from stagewhisper.compiler.recipe_search import Choice, Evaluator, Goal
from stagewhisper.compiler.recipe_text import LARGEST_BYTES
from stagewhisper.compiler.steps import PassStep
from stagewhisper.errors import OptionError
from stagewhisper.hub.known import embedded_path
from stagewhisper.model import PRECISIONS

HEAD = "precision: fp32\n"
INT8 = "precision: int8\n"


def recipe_of(folder: Path, text: str, name: str = "mine.yaml") -> Recipe:
    """The recipe with this text, read and checked."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(path)
    check_recipe(recipe)
    return recipe


def names_of(recipe: Recipe, graph: str = "decoder") -> list[str]:
    return [step.name for step in recipe.steps_for(graph)]


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_can_be_carried_out(name: str) -> None:
    recipe = load_recipe(name)
    check_recipe(recipe)
    assert recipe.name == name
    assert recipe.description
    assert RECIPE_OF_PRECISION[recipe.precision] == name


def test_there_is_a_recipe_for_every_precision() -> None:
    from stagewhisper.cli.bundles import PRECISIONS as OFFERED

    assert {*RECIPE_OF_PRECISION, "auto"} == set(PRECISIONS) == set(OFFERED)  # auto is a recipe that is measured
    assert sorted(RECIPE_OF_PRECISION.values()) == list(recipe_names()) == ["exact", "gpu-fp16", "int8", "small"]


def test_all_shipped_recipes_begin_with_the_pipeline() -> None:
    for graph in GRAPHS:
        for name in recipe_names():
            assert load_recipe(name).steps_for(graph)[: len(FP32)] == FP32


def test_reading_a_recipe_imports_no_pass() -> None:
    program = (
        "import sys; from stagewhisper.compiler import load_recipe; load_recipe('int8')\n"
        "print([name for name in ('onnx_ir', 'onnxruntime') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


def test_a_recipe_is_read_with_everything_it_says(tmp_path: Path) -> None:
    text = """
        description: mine
        model: base
        target: cpu
        precision: int8
        passes:
          - make_kv_cache_static
          - broadcast_tile
          - {pass: quantize_dynamic, graphs: decoder, parameters: {keep: [vocabulary]}, tolerance: 1e-1}
          - {pass: quantize_blockwise, graphs: decoder}
        evaluators:
          - {metric: wer, data: [clips, more], limit: 50, goal: {at_most: 0.2, than: exact}}
          - {metric: qoi, data: [clips], goal: {at_least: 95}}
          - {metric: window_ms, goal: best}
          - {metric: bundle_mb}
        search:
          strategy: pass-by-pass
          trials: 20
          space:
            quantize_blockwise.block_size: [32, 64]
            broadcast_tile: [true, false]
    """
    recipe = recipe_of(tmp_path, text)
    assert (recipe.name, recipe.description, recipe.model, recipe.target) == ("mine", "mine", "base", "cpu")
    assert names_of(recipe, "encoder") == ["make_kv_cache_static", "broadcast_tile"]
    assert recipe.steps_for("decoder")[2] == PassStep("quantize_dynamic", {"keep": ["vocabulary"]}, tolerance=0.1)
    assert recipe.evaluators == (
        Evaluator("wer", Goal(at_most=0.2, than="exact"), ("clips", "more"), 50),
        Evaluator("qoi", Goal(at_least=95.0), ("clips",)),
        Evaluator("window_ms", Goal()),
        Evaluator("bundle_mb"),
    )
    assert recipe.evaluators[2].goal == Goal()
    assert Goal().is_best
    assert recipe.search is not None
    assert (recipe.search.strategy, recipe.search.trials, recipe.search.seed) == ("pass-by-pass", 20, 0)
    assert recipe.search.space == (Choice(3, "block_size", (32, 64)), Choice(1, None, (True, False)))


def test_the_documents_example_can_be_carried_out(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "example.yaml").write_text(example.replace("blocks.5", "blocks.1"), encoding="utf-8")  # nano has two
    recipe = load_recipe(tmp_path / "example.yaml")
    check_recipe(recipe)
    reports = compile_graphs(load_checkpoint(embedded_path()), recipe, folder=None)
    for name in ("fuse_cross_attention", "quantize_dynamic"):
        rewrites = [one.rewrites for report in reports.values() for one in report.passes if one.name == name]
        assert sum(rewrites) > 0


def test_how_far_all_passes_may_change_the_numbers_is_part_of_a_recipe(tmp_path: Path) -> None:
    passes = "passes: [quantize_dynamic]\n"
    strict, plain = recipe_of(tmp_path, INT8 + "tolerance: 0.1\n" + passes), recipe_of(tmp_path, INT8 + passes)
    assert (strict.tolerance, plain.tolerance) == (0.1, None)
    assert strict.to_dict()["tolerance"] == 0.1
    assert "tolerance" not in plain.to_dict()
    assert strict.digest_without() != plain.digest_without()
    with pytest.raises(OptionError, match=r"mine\.yaml: tolerance: 0 stands here; expected a number above 0"):
        recipe_of(tmp_path, INT8 + "tolerance: 0\n" + passes)


def test_a_pass_may_find_nothing_where_it_is_included_or_says_so(tmp_path: Path) -> None:
    passes = "passes: [{include: pipeline}, fuse_gelu, {pass: fuse_bias_gelu, optional: true}, {pass: fuse_gelu}]\n"
    recipe = recipe_of(tmp_path, HEAD + passes)
    assert [step.optional for step in recipe.steps] == [True] * len(FP32) + [False, True, False]
    again = recipe_of(tmp_path, json.dumps(recipe.to_dict()), "again.json")
    assert [step.optional for step in again.steps] == [step.optional for step in recipe.steps]
    assert recipe.digest_without() == recipe_of(tmp_path, (HEAD + passes).replace("true", "false")).digest_without()
    included = recipe_of(tmp_path, HEAD + "passes: [{include: again.json}]", "outer.yaml")
    assert all(step.optional for step in included.steps)


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    data = {"precision": "fp32", "passes": ["broadcast_tile", {"pass": "make_kv_cache_static", "graphs": "decoder"}]}
    of_json = recipe_of(tmp_path, json.dumps(data), "mine.json")
    of_yaml = recipe_of(tmp_path, HEAD + "passes: [broadcast_tile, {pass: make_kv_cache_static, graphs: decoder}]")
    assert of_json == of_yaml


def test_what_a_recipe_includes_stands_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    recipe_of(folder, HEAD + "passes: [broadcast_tile]", "part.yaml")
    recipe_of(folder, HEAD + "passes: [{include: part.yaml}, fuse_gelu]", "whole.yaml")
    recipe = recipe_of(tmp_path, HEAD + "passes: [make_kv_cache_static, {include: parts/whole.yaml}, pack_qkv]")
    assert names_of(recipe) == ["make_kv_cache_static", "broadcast_tile", "fuse_gelu", "pack_qkv"]


def test_a_recipe_as_data_is_the_same_recipe_again(tmp_path: Path) -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        again = recipe_of(tmp_path, json.dumps(recipe.to_dict()), "again.json")
        assert again.to_dict() == recipe.to_dict()
        assert again.digest_without() == recipe.digest_without()


def test_the_digest_tells_recipes_apart_by_what_they_do_alone(tmp_path: Path) -> None:
    def digest(text: str, *disabled: str) -> str:
        return recipe_of(tmp_path, text).digest_without(disabled)

    plain = digest(HEAD + "passes: [broadcast_tile, make_kv_cache_static]")
    assert (
        digest(
            "# a remark\ndescription: other\nmodel: base\n" + HEAD + "passes: [broadcast_tile, make_kv_cache_static]"
        )
        == plain
    )
    different = [
        digest(HEAD + "passes: [make_kv_cache_static, broadcast_tile]"),
        digest(HEAD + "passes: [broadcast_tile, {pass: make_kv_cache_static, parameters: {length: 100}}]"),
        digest(HEAD + "passes: [broadcast_tile, {pass: make_kv_cache_static, graphs: decoder}]"),
        digest(HEAD + "passes: [broadcast_tile, make_kv_cache_static]", "broadcast_tile"),
        digest(HEAD + "target: gpu\npasses: [broadcast_tile, make_kv_cache_static]"),
    ]
    assert len({plain, *different}) == 1 + len(different)
    assert digest(HEAD + "passes: [make_kv_cache_static]") == different[3]


def test_files_are_found_beside_the_recipe_that_names_them_and_count_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_text("the same")
    monkeypatch.chdir(tmp_path)
    text = INT8 + "passes: [{pass: quantize_static, graphs: encoder, parameters: {recordings: [a.wav]}}]"
    first, second = (recipe_of(Path(name), text) for name in ("first", "second"))
    assert first.steps[0].step.parameters == {"recordings": [str(tmp_path / "first" / "a.wav")]}
    (tmp_path / "whole.yaml").write_text(INT8 + "passes: [{include: first/mine.yaml}]")
    assert load_recipe("whole.yaml").steps == first.steps
    again = recipe_of(tmp_path / "second", json.dumps(first.to_dict()), "again.json")
    assert again.steps == first.steps
    digest = first.digest_without()
    assert second.digest_without() == digest
    assert second.digest_without(contents=False) != first.digest_without(contents=False)
    (tmp_path / "first" / "a.wav").write_text("another")
    assert first.digest_without() != digest
    (tmp_path / "first" / "a.wav").unlink()
    with pytest.raises(OptionError, match=r"Cannot read .*a\.wav, which the recipe names"):
        first.digest_without()


def test_files_among_the_values_of_a_search_are_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("")
    text = (
        INT8 + "passes: [{pass: quantize_static, graphs: encoder}]\nevaluators: [{metric: step_ms, goal: best}]\n"
        "search: {trials: 2, space: {quantize_static.recordings: [[], [a.wav]], quantize_static.percentile: [99, 98]}}"
    )
    search = recipe_of(tmp_path, text).search
    assert search is not None
    assert [choice.values for choice in search.space] == [([], [str(tmp_path / "a.wav")]), (99, 98)]


STEP = HEAD + "passes:\n - "
SEARCHED = HEAD + "passes: [fuse_gelu, pack_qkv, fuse_gelu]\nevaluators: [{metric: step_ms, goal: best}]\nsearch: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine\.yaml: nothing stands here; expected a mapping with the keys name, .*passes"),
        ("- a", r"mine\.yaml: \['a'\] stands here; expected a mapping"),
        ("precision: fp32", "mine.yaml: the key 'passes' is missing"),
        ("passes: [fuse_gelu]", "mine.yaml: the key 'precision' is missing"),
        (HEAD + "passes: []", "passes is empty"),
        (HEAD + "passes: fuse_gelu", "passes: 'fuse_gelu' stands here; expected a list"),
        (HEAD + "pases: []", "there is no key 'pases'. Did you mean 'passes'"),
        (HEAD + "precision: fp32\npasses: []", r"line 1 is no YAML: the key 'precision' stands twice"),
        (HEAD + "1: 2\npasses: [fuse_gelu]", "there is no key 1"),
        ("precision: fp8\npasses: [fuse_gelu]", "precision: 'fp8' is unknown. Known: fp32, int8, int4, fp16"),
        (HEAD + "target: npu\npasses: [fuse_gelu]", "target: 'npu' is unknown. Known: cpu, gpu"),
        (HEAD + "model: 3\npasses: [fuse_gelu]", "model: 3 stands here; expected text"),
        (HEAD + "model:\npasses: [fuse_gelu]", "model: nothing stands here; expected text"),
        (STEP + "fuse_gleu", r"passes\[0\]: No pass named 'fuse_gleu'. Known: .*broadcast_tile, "),
        (STEP + "7", r"passes\[0\]: 7 stands here"),
        (STEP + "{pass: fuse_gelu, graph: decoder}", r"passes\[0\]: there is no key 'graph'. Did you mean 'graphs'"),
        (
            STEP + "{pass: fuse_gelu, graphs: all}",
            r"passes\[0\].graphs: 'all' is unknown. Known: encoder, decoder, both",
        ),
        (STEP + "{graphs: decoder}", r"passes\[0\]: the key 'pass' is missing"),
        (STEP + "{pass: fuse_gelu, tolerance: 0}", r"passes\[0\].tolerance: 0 stands here; expected a number above 0"),
        (STEP + "{pass: fuse_gelu, tolerance: .nan}", r"tolerance: nan stands here; expected a number"),
        (STEP + "{pass: fuse_gelu, tolerance: true}", r"tolerance: True stands here; expected a number"),
        (STEP + "{pass: fuse_gelu, parameters: [1]}", r"parameters: \[1\] stands here; expected a mapping"),
        (STEP + "{pass: fuse_gelu, parameters: {1: 2}}", r"parameters: the key 1 is no text"),
        (STEP + "{pass: fuse_gelu, parameters: {a: 2}}", r"the pass 'fuse_gelu' has no parameter 'a'. Known: none"),
        (
            STEP + "{pass: make_kv_cache_static, parameters: {length: long}}",
            "length of make_kv_cache_static is 'long'; expected a whole number or null",
        ),
        (STEP + "{pass: make_kv_cache_static, parameters: {length: 1.5}}", "length of make_kv_cache_static is 1.5"),
        (
            STEP + "{include: fast}",
            r"passes\[0\]: include: No recipe named 'fast'. Known: exact, gpu-fp16, int8, small",
        ),
        (STEP + "{include: gone.yaml}", r"include: Cannot read the recipe .*gone\.yaml: No such file"),
        (STEP + '{include: "a\\0.yaml"}', "include: Cannot read the recipe"),
        (STEP + "{include: mine.yaml}", r"includes itself: mine.yaml includes mine.yaml"),
        (STEP + "{include: exact, graphs: decoder}", "there is no key 'graphs'"),
        (STEP + "[", r"mine\.yaml, line \d+ is no YAML"),
        (STEP + "!!python/object/apply:os.system [ls]", "is no YAML: could not determine a constructor"),
        ("a: &a [1]\nb: *a", r"line 2 is no YAML: references"),
        ("{? [1] : 2}", r"is no YAML"),
        ("[" * 2000, "is no YAML"),
        ("\0", "is no YAML"),
        (INT8 + "passes: [fuse_gelu]", "precision is int8, and the passes make fp32"),
        (STEP + "quantize_dynamic", "precision is fp32, and the passes make int8"),
        (
            INT8 + "passes: [{pass: quantize_blockwise, parameters: {bits: 4}}]",
            "precision is int8, and the passes make int4",
        ),
        ("precision: fp16\npasses: [convert_to_fp16]", r"passes\[0\]: convert_to_fp16 is for target gpu"),
        (INT8 + "target: gpu\npasses: [quantize_dynamic]", r"quantize_dynamic makes operators that only .* CPU has"),
        (INT8 + "passes: [quantize_cross_kv]", r"passes\[0\]: quantize_cross_kv needs broadcast_tile before it"),
        (
            INT8 + "passes: [broadcast_tile, {pass: quantize_cross_kv, graphs: decoder}]",
            "quantize_cross_kv has to be the same for encoder and decoder",
        ),
        (INT8 + "passes: [quantize_dynamic, pack_qkv]", r"passes\[1\]: pack_qkv has to stand before quantize_dynamic"),
        (
            "precision: int8\ntarget: gpu\npasses: [convert_to_fp16, quantize_blockwise]",
            r"quantize_blockwise has to stand before convert_to_fp16",
        ),
        (
            INT8 + "passes: [{include: pipeline}, quantize_dynamic, convolution_to_matmul]",
            r"passes\[2\]: convolution_to_matmul has to stand before quantize_dynamic: .* would stay float32",
        ),
        (
            INT8 + "passes: [{include: int8}, fuse_cross_attention]",
            r"passes\[1\]: quantize_cross_kv stands before fuse_cross_attention and leaves it nothing to do",
        ),
        (
            INT8 + "passes: [{include: pipeline}, {pass: fuse_cross_attention, optional: true}, quantize_cross_kv]",
            r"passes\[2\]: fuse_cross_attention stands before quantize_cross_kv and leaves it nothing to do",
        ),
        (
            INT8 + "passes: [{pass: quantize_blockwise, parameters: {bits: 5}}]",
            r"mine\.yaml: passes\[0\]: bits of quantize_blockwise is 5; expected one of 4, 8",
        ),
        (INT8 + "passes: [{pass: quantize_blockwise, parameters: {block_size: 7}}]", "block_size .* is 7; expected"),
        (INT8 + "passes: [{pass: quantize_blockwise, parameters: {bits: 8.0}}]", "bits of quantize_blockwise is 8.0"),
        (INT8 + "passes: [{pass: quantize_static, parameters: {method: best}}]", "method .* 'best'; expected one of"),
        (
            INT8 + "passes: [{pass: quantize_blockwise, parameters: {rounding: calibrated}}]",
            r"passes\[0\]: rounding of quantize_blockwise is 'calibrated', which is for the decoder.*graphs: decoder",
        ),
        (
            INT8
            + "passes: [quantize_blockwise]\nevaluators: [{metric: step_ms, goal: best}]\n"
            + "search: {trials: 2, space: {quantize_blockwise.rounding: [nearest, calibrated]}}",
            "search.space: rounding of quantize_blockwise is 'calibrated', which is for the decoder",
        ),
        (STEP + "{pass: fuse_gelu, optional: maybe}", r"passes\[0\].optional: 'maybe' .* expected true or false"),
        (STEP + "decoder_masked_attention", "decoder_masked_attention needs make_kv_cache_static before it"),
        (
            STEP + "{pass: group_query_attention, parameters: {cache_scales: mine.yaml}}",
            "cache_scales changes numbers. .*tolerance",
        ),
        (
            STEP + "{pass: group_query_attention, parameters: {cache_scales: gone.json}}",
            r"passes\[0\]\.parameters\.cache_scales: Cannot read .*gone\.json: No such file .* count from the recipe's",
        ),
        (
            INT8 + "passes: [{pass: quantize_static, parameters: {recordings: [mine.yaml, gone.wav]}}]",
            r"passes\[0\]\.parameters\.recordings: Cannot read .*gone\.wav: No such file",
        ),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: speed}]",
            r"evaluators\[0\].metric: 'speed' is unknown. Known: wer, cer, qoi",
        ),
        (STEP + "fuse_gelu\nevaluators: [{metric: wer}]", r"evaluators\[0\]: wer needs data sets"),
        (STEP + "fuse_gelu\nevaluators: [{metric: wer, data: [3]}]", r"evaluators\[0\].data\[0\]: 3 stands here"),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: wer, data: [a], limit: 0}]",
            "limit: 0 stands here; expected a whole number from 1 on",
        ),
        (STEP + "fuse_gelu\nevaluators: [{metric: step_ms, data: [a]}]", "step_ms is measured without data sets"),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: step_ms, goal: fast}]",
            r"goal: 'fast' stands here; expected a mapping",
        ),
        (STEP + "fuse_gelu\nevaluators: [{metric: step_ms, goal: {}}]", "give at_most or at_least, or write best"),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: step_ms, goal: {at_most: 1, at_least: 2}}]",
            "give at_most or at_least",
        ),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: step_ms, goal: {at_least: 3}}]",
            r"evaluators\[0\].goal.at_least: step_ms is better when it is smaller. Write at_most, or the goal best.",
        ),
        (
            STEP + "fuse_gelu\nevaluators: [{metric: qoi, data: [clips], goal: {at_most: 95, than: exact}}]",
            r"goal.at_most: qoi is better when it is larger. Write at_least, or the goal best.",
        ),
        (STEP + "fuse_gelu\nsearch: {trials: 3, space: {fuse_gelu: [true, false]}}", "no evaluator has the goal best"),
        (SEARCHED + "{trials: 3}", "search: space is empty"),
        (SEARCHED + "{trials: 0, space: {pack_qkv: [true, false]}}", "search.trials: 0 stands here"),
        (
            SEARCHED + "{trials: 3, strategy: luck, space: {pack_qkv: [true, false]}}",
            "'luck' is unknown. Known: joint, pass-by-pass",
        ),
        (
            SEARCHED + "{trials: 3, space: {pack_kv: [true, false]}}",
            r"the recipe has no pass 'pack_kv'. It has: fuse_gelu, pack_qkv\.",
        ),
        (
            SEARCHED + "{trials: 3, space: {fuse_gelu: [true, false]}}",
            "'fuse_gelu' stands 2 times in the recipe. Write fuse_gelu#1",
        ),
        (SEARCHED + "{trials: 3, space: {'fuse_gelu#3': [true, false]}}", "there is no 'fuse_gelu#3'"),
        (SEARCHED + "{trials: 3, space: {pack_qkv: [true]}}", "expected a list of two values or more"),
        (SEARCHED + "{trials: 3, space: {pack_qkv: [1, 2]}}", "a pass runs or not"),
        (SEARCHED + "{trials: 3, space: {pack_qkv.bits: [32, 64, 32.0]}}", r"pack_qkv.bits: 32.0 stands there twice"),
        (SEARCHED + "{trials: 3, space: {pack_qkv.keep: [[a], [], [a]]}}", r"\['a'\] stands there twice"),
        (
            SEARCHED + "{trials: 3, space: {pack_qkv: [true, false], 'pack_qkv#1': [false, true]}}",
            "pack_qkv#1: this is pack_qkv, which stands there too",
        ),
        (
            SEARCHED + "{trials: 3, space: {pack_qkv.bits: [1, 2]}}",
            "search.space: the pass 'pack_qkv' has no parameter 'bits'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        recipe_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"precision": "fp32", "precision": "int8"}', "the key 'precision' stands twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "1e999 is no number"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_json_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        recipe_of(tmp_path, text, "mine.json")


def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("#" * (LARGEST_BYTES + 1))
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "recipe.txt").write_text(HEAD)
    (tmp_path / "folder.yaml").mkdir()
    for name, message in [
        ("large.yaml", "has 1048577 bytes"),
        ("picture.yaml", "not text in UTF-8"),
        ("recipe.txt", r"ends in neither .*Rename it"),
        ("folder.yaml", "Cannot read the recipe"),
    ]:
        with pytest.raises(OptionError, match=message):
            load_recipe(tmp_path / name)
    with pytest.raises(OptionError, match=r"No recipe named 'fast'\. Known: exact, gpu-fp16, int8, small; or name a"):
        load_recipe("fast")


def test_a_pass_can_be_switched_off_unless_others_need_it() -> None:
    recipe = load_recipe("int8")
    left = without(recipe, ["quantize_cross_kv"])
    assert names_of(left) == [name for name in names_of(recipe) if name != "quantize_cross_kv"]
    assert without(recipe, []) is recipe
    with pytest.raises(OptionError, match="quantize_cross_kv needs broadcast_tile before it"):
        without(recipe, ["broadcast_tile"])
    with pytest.raises(OptionError, match="precision is int8, and the passes make fp32"):
        without(recipe, ["quantize_dynamic", "quantize_blockwise", "quantize_attention", "quantize_cross_kv"])
    with pytest.raises(OptionError, match=r"recipe 'int8' has no pass 'convert_to_fp16' to switch off\. It has: "):
        without(recipe, ["convert_to_fp16"])
    with pytest.raises(OptionError, match="No pass named 'nothing' to switch off"):
        without(recipe, ["nothing"])


@pytest.mark.parametrize(
    ("value", "expected", "yes"),
    [
        (True, bool, True),
        (1, bool, False),
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (1.5, float, True),
        ("1", float, False),
        ("a", str, True),
        (None, int | None, True),
        ("a", int | None, False),
        (["a"], Sequence[str], True),
        ([], Sequence[str], True),
        ("a", Sequence[str], False),
        ([1], Sequence[str], False),
        ({"a": 1.0}, Mapping[str, float], True),
        ({"a": "b"}, Mapping[str, float], False),
        ({"a": [1]}, Mapping[str, float | Sequence[float]], True),
        (4, Literal[4, 8], True),
        (5, Literal[4, 8], False),
        (False, Literal[0, 4], False),
        (object(), Any, True),
    ],
)
def test_values_fit_annotations(value: object, expected: Any, yes: bool) -> None:
    assert fits(value, expected) is yes
    assert described(expected)


def test_every_parameter_of_every_pass_has_a_type_that_is_checked() -> None:
    for name in PASSES.names():
        for parameter, expected in parameters_of(PASSES.get(name)).items():
            assert not fits(object(), expected), f"{name}: {parameter} takes anything"
