"""Passes are run in order, counted and compared, and whatever goes wrong names the pass that did it."""

import ast
import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import decoder_cases, encoder_cases, recorded_windows
from stagewhisper.compiler.contract import FP32_TOLERANCE
from stagewhisper.compiler.equivalence import Case, Difference, Equivalence, Options
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import ALIASES, alias
from stagewhisper.compiler.pass_manager import PassStep, check_step, run_passes
from stagewhisper.compiler.pipeline import FP32
from stagewhisper.compiler.report import Report, render_table
from stagewhisper.errors import CompilerError, OptionError
from tests.checkpoints import random_dims, save_openai

SAMPLES = "tests.compiler.sample_passes"


@pytest.fixture(autouse=True)
def sample_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample passes, installed as if a package declared them."""
    source = ast.parse((Path(__file__).parent / "sample_passes.py").read_text(encoding="utf-8"))
    names = [node.name for node in source.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, f"{SAMPLES}:{name}", group) for name in names if group == "stagewhisper.passes"]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32, n_audio_layer=1)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("checkpoint") / "random.pt", dims, seed=4))


@pytest.fixture(scope="module")
def cases(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    return decoder_cases(
        export_encoder(checkpoint),
        export_decoder(checkpoint),
        recorded_windows(checkpoint.dims),
        prompt=(50258, 50259, 50359, 50363),
        folder=tmp_path_factory.mktemp("cases"),
    )


def run(
    checkpoint: Checkpoint,
    cases: tuple[Case, ...],
    folder: Path,
    *names: str,
    options: Options | None = None,
    steps: tuple[PassStep, ...] = (),
    **settings: object,
) -> Report:
    equivalence = Equivalence(cases, folder, options=options)
    steps = (*(PassStep(name) for name in names), *steps)
    return run_passes(export_decoder(checkpoint), steps, equivalence=equivalence, **settings)  # type: ignore[arg-type]


def test_passes_are_counted_timed_and_compared(checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path) -> None:
    report = run(checkpoint, cases, tmp_path, "swap_addends", "do_nothing", "swap_addends")
    first, idle, again = report.passes
    assert first.name == "swap_addends"
    assert first.rewrites > 10
    assert idle.rewrites == again.rewrites == 0
    assert first.difference is not None
    assert first.difference <= first.tolerance  # type: ignore[operator]
    assert idle.difference is None, "what has not changed is not compared"
    assert first.seconds > 0
    assert first.check_seconds > 0
    assert report.op_types_before == report.op_types_after
    assert report.op_types_before["Softmax"] == 4
    assert report.bytes_before > 4 * 51_865 * 32


def test_the_report_survives_json(checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path) -> None:
    steps = (PassStep("scale_logits", {"factor": 1.0}), PassStep("do_nothing", {"to": ("decoder.*", "encoder.*")}))
    report = run(checkpoint, cases, tmp_path, steps=steps, options=Options(timed=True))
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_table_shows_every_pass_and_the_sum(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    steps = (PassStep("scale_logits", {"factor": 1.000001}), PassStep("swap_addends"), PassStep("fail"))
    report = run(checkpoint, cases, tmp_path, steps=steps, options=Options(timed=True), disabled={"fail"})
    header, scale, swap, _, total, off = render_table(report).splitlines()
    assert header.split("  ")[0] == "whisper_decoder"
    before = sum(report.op_types_before.values())
    assert f" 1  {before} → {before + 1} " in scale
    assert "logits of 'step" in scale or "logits of 'prompt" in scale
    assert "exact" in swap or "e-0" in swap
    assert total.startswith("all ")
    assert off == "switched off: fail"
    assert all("." in f"{ms:.2f}" and ms > 0 for ms in report.passes[0].ms_after.values())
    assert set(report.ms_before) == {case.name for case in cases}


def test_a_pass_that_breaks_the_numbers_is_named(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    with pytest.raises(CompilerError, match=r"pass 'scale_logits': it changed the numbers: .* in logits of '"):
        run(checkpoint, cases, tmp_path, "swap_addends", "scale_logits", "do_nothing")


def test_comparing_once_at_the_end_names_the_same_pass(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    report = run(checkpoint, cases, tmp_path, "swap_addends", options=Options(each=False))
    assert report.passes[0].difference is None
    assert report.difference is not None
    assert report.difference < 1e-5
    with pytest.raises(CompilerError, match=r"pass 'scale_logits': it changed the numbers"):
        run(checkpoint, cases, tmp_path, "swap_addends", "scale_logits", options=Options(each=False))


@pytest.mark.parametrize("each", [True, False])
def test_what_quantisation_may_change_excuses_no_pass_before_it(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path, each: bool
) -> None:
    steps = (PassStep("scale_logits"), PassStep("swap_addends", tolerance=0.5))
    with pytest.raises(CompilerError, match=r"pass 'scale_logits': .* where 2\.0e-05 is allowed"):
        run(checkpoint, cases, tmp_path, steps=steps, options=Options(each=each), tolerance=0.4)


@pytest.mark.parametrize("each", [True, False])
def test_all_passes_together_may_change_as_much_as_the_recipe_says_or_as_one_of_them(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path, each: bool
) -> None:
    lossy = (PassStep("swap_addends", tolerance=0.02), PassStep("scale_logits", {"factor": 1.1}, tolerance=0.3))
    settings: dict[str, Any] = {"options": Options(each=each), "steps": lossy}
    report = run(checkpoint, cases, tmp_path, **settings)
    assert report.difference == pytest.approx(0.1, rel=0.1)
    assert report.allowed == 0.3
    assert ", 3.0e-01 allowed" in render_table(report).splitlines()[-1]
    exact = (PassStep("scale_logits", {"factor": 1.0}), PassStep("swap_addends", tolerance=0.02))
    report = run(checkpoint, cases, tmp_path, steps=exact, options=Options(each=each), tolerance=0.01)
    assert report.allowed == pytest.approx(0.01 + FP32_TOLERANCE), "what is exact adds its rounding"
    with pytest.raises(CompilerError, match=r"together changed the numbers too much.*where 5\.0e-02 is allowed"):
        run(checkpoint, cases, tmp_path, tolerance=0.05, **settings)


def test_what_no_pass_has_changed_since_is_compared_once(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, compare = [], Equivalence.compare_with_first

    def counted(equivalence: Equivalence, model: ir.Model) -> Difference:
        compared.append(model)
        return compare(equivalence, model)

    monkeypatch.setattr(Equivalence, "compare_with_first", counted)
    lossy = (PassStep("scale_logits", {"factor": 1.001}, tolerance=0.02),)
    for steps, times in (((PassStep("do_nothing", tolerance=0.1),), 1), ((), 1), (lossy, 2)):
        compared.clear()
        run(checkpoint, cases, tmp_path, "swap_addends", steps=steps, options=Options(each=False))
        assert len(compared) == times


def test_many_small_changes_that_add_up_are_noticed_at_the_end(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Equivalence, "compare", lambda self, model: Difference(0.0, ""))
    with pytest.raises(CompilerError, match=r"together changed the numbers too much.*where .* is allowed"):
        run(checkpoint, cases, tmp_path, "scale_logits", options=Options(each=False))


def test_a_pass_may_change_the_numbers_as_far_as_it_declares_or_is_told(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    report = run(checkpoint, cases, tmp_path, "scale_logits_openly")
    assert report.passes[0].tolerance == 0.02
    assert report.passes[0].difference == pytest.approx(0.01, rel=0.1)
    report = run(checkpoint, cases, tmp_path, steps=(PassStep("scale_logits", tolerance=0.05),))
    assert report.passes[0].tolerance == 0.05
    with pytest.raises(CompilerError, match=r"scale_logits_openly.*where 1\.0e-03 is allowed"):
        run(checkpoint, cases, tmp_path, steps=(PassStep("scale_logits_openly", tolerance=1e-3),))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("scale_secretly", "it changed the numbers"),
        ("make_infinite", "not finite"),
        (
            "leave_a_hole",
            r"not legal: the MatMul .* reads .* which was made by the LayerNormalization .*, which is not",
        ),
        ("invent_an_operator", "ONNX Runtime refuses the graph.*Hardmaxx"),
        ("fail", "it failed with KeyError: 'val_17'"),
        ("answer_in_words", "it returned 'three'; expected the number"),
        ("rename_logits", r"outputs have changed: \['logits'\] are gone and \['scores'\] are new.*adapt_outputs"),
        ("turn_tokens_silently", r"wants \['tokens_turned'\] and does not know \['tokens'\].*adapt_inputs"),
        ("adapt_wrongly", "adapt_outputs failed: KeyError: 'no such output'"),
    ],
)
def test_a_bad_pass_is_named_with_the_reason_and_the_remedy(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(
        CompilerError, match=rf"(?s)^The pass '{name}': .*{reason}.*\. Switch it off with .*-pass {name},"
    ):
        run(checkpoint, cases, tmp_path, "swap_addends", name)


def test_a_wrong_parameter_is_no_fault_of_the_passs_authors(checkpoint: Checkpoint) -> None:
    step = PassStep("make_kv_cache_static", {"length": 0})
    with pytest.raises(OptionError, match=r"^The pass 'make_kv_cache_static': .*length 0; .* at least 1 position\.$"):
        run_passes(export_decoder(checkpoint), [step])


def test_illegal_graphs_are_noticed_without_comparing(checkpoint: Checkpoint) -> None:
    with pytest.raises(CompilerError, match=r"The pass 'leave_a_hole': .*not legal"):
        run_passes(export_decoder(checkpoint), [PassStep("leave_a_hole")])


def test_a_graph_that_was_illegal_before_is_no_passs_fault(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    model.graph.opset_imports.clear()
    with pytest.raises(CompilerError, match=r"^Before any pass: "):
        run_passes(model, [PassStep("do_nothing")])


def test_declared_changes_of_inputs_and_outputs_are_followed(
    checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    for each in (True, False):
        report = run(
            checkpoint,
            cases,
            tmp_path,
            "turn_tokens",
            "logits_of_the_last_position",
            "swap_addends",
            options=Options(each=each),
        )
        assert report.difference is not None
        assert report.difference < 1e-5
    with pytest.raises(CompilerError, match="'scale_logits': it changed the numbers"):
        run(checkpoint, cases, tmp_path, "turn_tokens", "logits_of_the_last_position", "scale_logits")


def test_passes_are_switched_off_by_name(checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path) -> None:
    report = run(checkpoint, cases, tmp_path, "swap_addends", "fail", disabled=["fail", "do_nothing"])
    assert [record.name for record in report.passes] == ["swap_addends"]
    assert report.switched_off == ("fail",)


@pytest.mark.parametrize(
    ("steps", "disabled", "message"),
    [
        ((PassStep("fuse_everything"),), (), "No pass named 'fuse_everything'. Known: .*swap_addends"),
        ((PassStep("swap_addends"),), ("fuse_nothing",), "No pass named 'fuse_nothing' to switch off. Known: "),
        ((PassStep("scale_logits", {"divisor": 2}),), (), "'scale_logits' has no parameter 'divisor'. Known: factor."),
        ((PassStep("fail", {"loudly": True}),), (), "'fail' has no parameter 'loudly'. Known: none."),
        ((PassStep("do_nothing", {"graph": 2}),), (), "'do_nothing' has no parameter 'graph'. Known: to."),
        ((PassStep("do_nothing", {"to": 2}),), (), "'do_nothing': to is 2; expected a list of which each is text"),
    ],
)
def test_unknown_names_are_errors_before_anything_runs(
    checkpoint: Checkpoint, steps: tuple[PassStep, ...], disabled: tuple[str, ...], message: str
) -> None:
    model = export_decoder(checkpoint)
    with pytest.raises(OptionError, match=message):
        run_passes(model, (PassStep("fail"), *steps), disabled=disabled)
    if not disabled:
        with pytest.raises(OptionError, match=message):
            check_step(steps[0])


def test_aliases_reach_the_model_where_the_engine_can_read_them(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    alias(model.graph, "past_self_k_0", "present_self_k_0")
    run_passes(model, ())
    assert json.loads(model.metadata_props[ALIASES]) == {"past_self_k_0": "present_self_k_0"}


def test_the_pipeline_holds_for_both_graphs(checkpoint: Checkpoint, cases: tuple[Case, ...], tmp_path: Path) -> None:
    mel = recorded_windows(checkpoint.dims)
    for model, own in ((export_encoder(checkpoint), encoder_cases(mel)), (export_decoder(checkpoint), cases)):
        report = run_passes(model, FP32, equivalence=Equivalence(own, tmp_path))
        assert report.difference is not None
        assert report.difference < 1e-4
        assert [record.name for record in report.passes] == [step.name for step in FP32]


def test_weights_are_not_kept_in_memory(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    run_passes(model, (PassStep("swap_addends"),))
    embedding = model.graph.initializers["decoder.token_embedding.weight"].const_value
    assert isinstance(embedding, ir.LazyTensor)


def test_cases_are_real_and_differ_between_beams_and_windows(cases: tuple[Case, ...]) -> None:
    inputs: Mapping[str, Mapping[str, np.ndarray]] = {case.name: case.inputs for case in cases}
    assert list(inputs) == ["prompt", "prompt, 5 beams", "step", "step, 5 beams", "step, 2 windows of 5 beams"]
    widest = inputs["step, 2 windows of 5 beams"]
    caches = widest["past_self_k_0"]
    assert caches.shape == (10, 2, 10, 16)
    assert all(len(np.unique(beams[:, 0, -1, 0])) == 5 for beams in (caches[:5], caches[5:]))
    assert not np.array_equal(widest["cross_k_0"][0], widest["cross_k_0"][1])
    assert inputs["prompt"]["past_self_v_1"].shape[2] == 0
    assert inputs["step, 5 beams"]["tokens"].shape == (5, 1)
