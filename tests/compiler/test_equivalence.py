"""Graphs are run as an engine runs them, differences are measured as described, and weights are written once."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.contract import FP32_TOLERANCE, Contract, contract_of, declares
from stagewhisper.compiler.equivalence import Case, Equivalence, GraphRunner, Options, difference
from stagewhisper.compiler.export import export_decoder
from stagewhisper.compiler.graph_tools import add_initializer, alias, aliases_of, derive_initializer
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.errors import CompilerError
from tests.checkpoints import random_dims, save_openai

FLOAT = ir.DataType.FLOAT


def growing_model() -> ir.Model:
    """present = past + w on buffers of 600 numbers, and total = Σ present."""
    past = ir.val("past", FLOAT, [600])
    tape = ir.tape.Tape()
    w = tape.initializer(ir.tensor(np.arange(600, dtype=np.float32), name="w"))
    present = tape.op("Add", [past, w])
    total = tape.op("ReduceSum", [present], {"keepdims": 0})
    for name, value, shape in (("present", present, [600]), ("total", total, [])):
        value.name, value.shape, value.dtype = name, ir.Shape(shape), FLOAT
    graph = ir.Graph([past], [present, total], nodes=tape.nodes, initializers=[w], opset_imports={"": 20}, name="sum")
    return ir.Model(graph, ir_version=10)


def test_an_output_that_is_written_over_an_input_leaves_the_callers_array_alone(tmp_path: Path) -> None:
    model = growing_model()
    alias(model.graph, "past", "present")
    runner = GraphRunner(Scratch(tmp_path).save(model), aliases=aliases_of(model.graph))
    past = np.ones(600, np.float32)
    for _ in range(2):
        outputs = runner.run({"past": past})
        np.testing.assert_array_equal(outputs["present"], 1 + np.arange(600))
        assert outputs["total"] == 600 + 599 * 300
        assert past.max() == 1
    assert runner.milliseconds({"past": past}) > 0


def test_inputs_that_are_missing_or_left_over_are_named(tmp_path: Path) -> None:
    runner = GraphRunner(Scratch(tmp_path).save(growing_model()))
    with pytest.raises(CompilerError, match=r"wants \['past'\] and does not know \['lengths'\]"):
        runner.run({"lengths": np.ones(600, np.float32)})


def test_inputs_of_a_wrong_shape_are_ours_to_report(tmp_path: Path) -> None:
    runner = GraphRunner(Scratch(tmp_path).save(growing_model()))
    with pytest.raises(CompilerError, match=r"(?s)ONNX Runtime cannot run the graph.*past"):
        runner.run({"past": np.ones(5, np.float32)})


@pytest.mark.parametrize(
    ("before", "after", "size"),
    [
        ([0.5, -0.25], [0.5, -0.25], 0.0),
        ([0.5, -0.25], [0.5, -0.5], 0.25),  # below 1: absolute
        ([0.5, -4.0], [1.5, -4.0], 0.25),  # as a share of the largest
        ([0.5, -4.0], [np.nan, -4.0], 0.0),  # not said any more
        ([], [], 0.0),
    ],
)
def test_a_difference_is_a_share_of_the_largest_number(before: list[float], after: list[float], size: float) -> None:
    old, new = ({"y": np.array(numbers, np.float32)} for numbers in (before, after))
    assert difference(old, new).size == size


def test_the_worst_output_is_named() -> None:
    before = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float16)}
    after = {"a": np.full(2, 0.25, np.float32), "b": np.full(2, 0.5, np.float16)}
    found = difference(before, after)
    assert (found.size, found.where) == (0.5, "b")


@pytest.mark.parametrize(
    "after", [np.zeros((2, 1), np.float32), np.zeros(2, np.float16)], ids=["another shape", "another type"]
)
def test_another_shape_or_type_is_no_small_difference(after: np.ndarray) -> None:
    with pytest.raises(CompilerError, match=r"'y' was float32\[2\] and is float.*adapt_outputs"):
        difference({"y": np.zeros(2, np.float32)}, {"y": after})


def test_numbers_that_are_none_are_found_before_any_pass(tmp_path: Path) -> None:
    cases = [Case("all of it", {"past": np.full(600, np.inf, np.float32)})]
    with pytest.raises(CompilerError, match="'present' of 'all of it' holds numbers that are not finite"):
        Equivalence(cases, tmp_path).start(growing_model())


def test_times_are_measured_for_every_case_when_asked(tmp_path: Path) -> None:
    cases = [Case(name, {"past": np.ones(600, np.float32)}) for name in ("first", "second")]
    plain, timed = Equivalence(cases, tmp_path), Equivalence(cases, tmp_path, options=Options(timed=True))
    for one in (plain, timed):
        one.start(growing_model())
    assert plain.milliseconds == {}
    assert set(timed.first_milliseconds) == {"first", "second"}


def test_a_graph_that_no_pass_has_changed_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    equivalence = Equivalence([Case("all", {"past": np.ones(600, np.float32)})], tmp_path, options=Options(each=False))
    model = growing_model()
    equivalence.start(model)
    monkeypatch.setattr(Scratch, "save", lambda self, model: pytest.fail("saved again"))
    assert equivalence.compare_with_first(model).size == 0


def test_a_pass_without_a_declaration_is_held_to_the_strictest(tmp_path: Path) -> None:
    def plain(graph: ir.Graph) -> int:
        return 0

    assert contract_of(plain) == Contract(tolerance=FP32_TOLERANCE)
    assert contract_of(declares(tolerance=0.5)(plain)).tolerance == 0.5
    inputs = {"x": np.ones(1)}
    assert Contract().adapt_inputs(inputs, growing_model().graph) is inputs


def test_each_weight_is_written_once_however_often_the_graph_is_saved(tmp_path: Path) -> None:
    model, scratch = growing_model(), Scratch(tmp_path)
    reads = []

    def counted(array: np.ndarray) -> np.ndarray:
        reads.append(len(array))
        return 2 * array

    w = model.graph.initializers["w"]
    doubled = derive_initializer(model.graph, "doubled", [w], counted, shape=[600])
    w.replace_all_uses_with(doubled)
    for _ in range(3):
        path = scratch.save(model)
    assert reads == [600]
    doubled.name = "renamed"
    tripled = add_initializer(model.graph, "tripled", np.arange(600, dtype=np.float32) * 3)
    doubled.replace_all_uses_with(tripled)
    assert GraphRunner(path).run({"past": np.zeros(600, np.float32)})["present"][10] == 20
    path = scratch.save(model)
    assert GraphRunner(path).run({"past": np.zeros(600, np.float32)})["present"][10] == 30
    assert reads == [600]
    assert [file.stat().st_size for file in sorted(tmp_path.glob("*.weights"))] == [4096 + 2400, 2400]
    assert isinstance(model.graph.initializers["renamed"].const_value, ir.LazyTensor), "the graph is as it was"


def test_a_saved_graph_equals_the_one_that_onnx_ir_saves(tmp_path: Path) -> None:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32)
    model = export_decoder(load_checkpoint(save_openai(tmp_path / "random.pt", dims)))
    (tmp_path / "ours").mkdir()
    ours = ir.load(Scratch(tmp_path / "ours").save(model))
    ir.save(model, tmp_path / "theirs.onnx")
    theirs = ir.load(tmp_path / "theirs.onnx")
    assert [node.op_type for node in ours.graph] == [node.op_type for node in theirs.graph]
    for name, value in theirs.graph.initializers.items():
        tensor, other = value.const_value, ours.graph.initializers[name].const_value
        assert tensor is not None
        assert other is not None
        np.testing.assert_array_equal(other.numpy(), tensor.numpy())
