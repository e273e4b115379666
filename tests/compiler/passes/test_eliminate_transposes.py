"""Transposes go where something else does their work, and stay where nothing does."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import attribute_of, derive_initializer, nodes_of
from stagewhisper.compiler.passes.eliminate_transposes import eliminate_transposes
from stagewhisper.compiler.passes.fold_constants import fold_constants
from tests.checkpoints import random_dims, save_openai
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph, op_counts
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

FLOAT = ir.DataType.FLOAT
GENERATOR = np.random.default_rng(0)
LENGTHS = {"n": 2, "m": 5, "r": 6}
SHAPES: dict[str, list[int | str]] = {
    "x": ["n", "m", 3, 4],
    "z": ["n", "m", 3, 4],
    "unit": ["n", 1, 3, 4],
    "rows": ["r", 3, 4],
    "square": ["n", 4, 4],
}
INPUTS = {
    name: GENERATOR.standard_normal([LENGTHS[d] if isinstance(d, str) else d for d in shape]).astype(np.float32)
    for name, shape in SHAPES.items()
}
FUSED = "com.microsoft::FusedMatMul"

Build = Callable[[SmallGraph], ir.Value]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def after(build: Build, *, close: float = 0.0) -> tuple[int, dict[str, int]]:
    """Rewrites and operators, but for the Neg that stands before the output."""

    def model() -> ir.Model:
        graph = SmallGraph({name: (FLOAT, shape) for name, shape in SHAPES.items()})
        return graph.model(y=graph.op("Neg", build(graph)))

    count, ops = rewritten(eliminate_transposes, model, INPUTS, close=close)
    del ops["Neg"]
    return count, ops


def turn(g: SmallGraph, value: ir.Value, *perm: int) -> ir.Value:
    return g.op("Transpose", value, perm=list(perm))


# --- neighbours ---------------------------------------------------------------------------------------------------


def test_inverse_transposes_cancel() -> None:
    assert after(lambda g: turn(g, turn(g, g.inputs["x"], 0, 2, 3, 1), 0, 3, 1, 2)) == (1, {})


def test_transposes_in_a_row_merge_into_one() -> None:
    count, ops = after(lambda g: turn(g, turn(g, turn(g, g.inputs["x"], 0, 2, 1, 3), 0, 1, 3, 2), 1, 0, 2, 3))
    assert (count, ops) == (2, {"Transpose": 1})


def test_a_transpose_that_moves_nothing_goes() -> None:
    assert after(lambda g: turn(g, g.inputs["x"], 0, 1, 2, 3)) == (1, {})


def test_without_perm_all_axes_turn_round() -> None:
    assert after(lambda g: g.op("Transpose", g.op("Transpose", g.inputs["x"]))) == (1, {})


def test_only_axes_of_length_one_need_no_moving() -> None:
    assert after(lambda g: turn(g, g.inputs["unit"], 0, 2, 1, 3)) == (1, {"Reshape": 1})
    assert after(lambda g: turn(g, g.inputs["unit"], 1, 0, 2, 3)) == (1, {"Reshape": 1})
    assert after(lambda g: turn(g, g.inputs["unit"], 0, 3, 1, 2)) == (0, {"Transpose": 1})


def test_a_first_transpose_that_others_read_stays_as_does_the_second() -> None:
    def build(g: SmallGraph) -> ir.Value:
        first = turn(g, g.inputs["x"], 0, 2, 1, 3)
        second = turn(g, first, 0, 1, 3, 2)
        return g.op("Add", g.op("ReduceSum", first), g.op("Softmax", second))

    assert after(build) == (0, {"Transpose": 2, "ReduceSum": 1, "Add": 1, "Softmax": 1})


# --- elementwise --------------------------------------------------------------------------------------------------


def test_a_transpose_goes_down_to_one_that_it_merges_with() -> None:
    def build(g: SmallGraph) -> ir.Value:
        scaled = g.op("Mul", turn(g, g.inputs["x"], 0, 2, 1, 3), g.constant("scale", np.full((), 0.5, np.float32)))
        return turn(g, g.op("Tanh", scaled), 0, 1, 3, 2)

    assert after(build) == (2, {"Mul": 1, "Tanh": 1, "Transpose": 1})


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 1), (4, 1, 1), (1, 4, 3, 5), (4, 3, 5), (2, 1, 1, 1)])
def test_constants_are_spread_over_the_axes_that_they_lack_before_they_are_turned(shape: tuple[int, ...]) -> None:
    def build(g: SmallGraph) -> ir.Value:
        turned = turn(g, g.inputs["x"], 0, 3, 2, 1)  # [n, 4, 3, m]
        return turn(g, g.op("Sub", g.constant("c", random(*shape)), turned), 0, 3, 2, 1)

    assert after(build) == (2, {"Sub": 1})


def test_two_that_are_turned_alike_are_added_first() -> None:
    def build(g: SmallGraph) -> ir.Value:
        both = g.op("Add", turn(g, g.inputs["x"], 0, 2, 1, 3), turn(g, g.inputs["z"], 0, 2, 1, 3))
        return g.op("Softmax", g.op("Mul", both, g.constant("c", random(3, 1, 4))))

    assert after(build) == (2, {"Add": 1, "Mul": 1, "Transpose": 1, "Softmax": 1})


def test_what_was_turned_alike_is_joined_first_along_the_axis_that_it_was_before() -> None:
    def build(g: SmallGraph) -> ir.Value:
        turned = [turn(g, g.inputs[name], 0, 2, 3, 1) for name in ("x", "z")]
        return g.op("Softmax", g.op("Concat", *turned, axis=-1))

    assert after(build) == (2, {"Concat": 1, "Transpose": 1, "Softmax": 1})


def test_it_declines_operands_in_other_layouts() -> None:
    def build(g: SmallGraph) -> ir.Value:
        x, z = turn(g, g.inputs["x"], 0, 2, 1, 3), turn(g, g.inputs["z"], 2, 0, 1, 3)
        one = g.op("ReduceSum", x, g.constant("axes", np.array([0], np.int64)))
        return turn(g, g.op("Add", g.op("Add", g.op("ReduceSum", z), one), x), 0, 2, 1, 3)

    count, ops = after(build)
    assert (count, ops["Transpose"]) == (0, 3)


def test_a_shape_that_is_computed_beside_the_numbers_keeps_its_order() -> None:
    def build(g: SmallGraph) -> ir.Value:
        lengths = g.op("Cast", g.op("Shape", g.inputs["rows"], start=1, end=2), to=1)
        pair = g.op("Concat", lengths, g.constant("c", random(3)), axis=0)  # 4 numbers along the last axis
        return turn(g, g.op("Add", turn(g, g.inputs["x"], 0, 2, 1, 3), pair), 0, 2, 1, 3)

    count, ops = after(build)
    assert (count, ops["Transpose"]) == (0, 2)


# --- weights ------------------------------------------------------------------------------------------------------


def test_a_weight_is_turned_when_the_graph_is_saved() -> None:
    read: list[str] = []
    g = SmallGraph({"x": (FLOAT, ["n", 64])})
    source = g.constant("source", random(512, 64))
    model = g.model(y=g.op("MatMul", g.inputs["x"], g.op("Transpose", source, perm=[1, 0])))

    def note(array: np.ndarray) -> np.ndarray:
        read.append("source")
        return array

    source.replace_all_uses_with(derive_initializer(model.graph, "lazy", [source], note, shape=(512, 64)))
    assert eliminate_transposes(model.graph) == 1
    assert read == []
    assert op_counts(model.graph) == {"MatMul": 1}
    weight = next(iter(model.graph)).inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    np.testing.assert_array_equal(weight.const_value.numpy(), random(512, 64).T)


def test_a_large_weight_that_is_read_as_it_is_too_is_not_stored_twice() -> None:
    def build(g: SmallGraph) -> ir.Value:
        weight = g.constant("weight", random(6000, 4))
        rows = g.op("Gather", weight, g.constant("picked", np.array([1, 5000])))
        return g.op("MatMul", rows, g.op("Transpose", weight, perm=[1, 0]))

    count, ops = after(build, close=CLOSE)
    assert (count, ops) == (1, {"Gather": 1, FUSED: 1})


# --- products -----------------------------------------------------------------------------------------------------

TAKEN: dict[str, tuple[Build, dict[str, int]]] = {
    "keys": (lambda g: g.op("MatMul", g.inputs["x"], turn(g, g.inputs["z"], 0, 1, 3, 2)), {"transB": 1}),
    "queries": (lambda g: g.op("MatMul", turn(g, g.inputs["x"], 0, 1, 3, 2), g.inputs["z"]), {"transA": 1}),
    "both": (
        lambda g: g.op("MatMul", *(turn(g, g.inputs["square"], 0, 2, 1) for _ in range(2))),
        {"transA": 1, "transB": 1},
    ),
    "twice the same": (
        lambda g: (lambda turned: g.op("MatMul", turned, turned))(turn(g, g.inputs["square"], 0, 2, 1)),
        {"transA": 1, "transB": 1},
    ),
    "rows outermost": (
        lambda g: g.op("MatMul", turn(g, g.inputs["rows"], 1, 0, 2), g.constant("k", random(3, 4, 7))),
        {"transBatchA": 1},
    ),
    "keys outermost": (
        lambda g: g.op("MatMul", g.constant("q", random(3, 2, 4)), turn(g, g.inputs["rows"], 1, 2, 0)),
        {"transB": 1, "transBatchB": 1},
    ),
    "scaled on the way": (
        lambda g: g.op(
            "MatMul", g.inputs["x"], g.op("Mul", turn(g, g.inputs["z"], 0, 1, 3, 2), g.constant("c", random(1)))
        ),
        {"transB": 1},
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_product_reads_its_operand_as_it_lies(name: str) -> None:
    build, flags = TAKEN[name]
    count, ops = after(build, close=CLOSE)
    assert count > 0
    assert "Transpose" not in ops
    graph = SmallGraph({name: (FLOAT, shape) for name, shape in SHAPES.items()})
    model = graph.model(y=build(graph))
    eliminate_transposes(model.graph)
    (product,) = nodes_of(model.graph, "FusedMatMul", domain="com.microsoft")
    assert {flag: attribute_of(product, flag) for flag in product.attributes} == flags


def test_a_flag_is_taken_back_by_a_second_transpose_and_alpha_is_kept() -> None:
    def build(g: SmallGraph) -> ir.Value:
        keys = turn(g, g.inputs["z"], 0, 1, 3, 2)
        return g.op("FusedMatMul", g.inputs["x"], keys, domain="com.microsoft", transA=1, transB=1, alpha=0.5)

    graph = SmallGraph({name: (FLOAT, shape) for name, shape in SHAPES.items()})
    model = graph.model(y=build(graph))
    assert eliminate_transposes(model.graph) == 1
    (product,) = nodes_of(model.graph, "FusedMatMul", domain="com.microsoft")
    assert {flag: attribute_of(product, flag) for flag in product.attributes} == {"transA": 1, "alpha": 0.5}
    assert after(build, close=CLOSE)[0] == 1


DECLINED: dict[str, Build] = {
    "heads split from rows": lambda g: g.op(
        "MatMul", turn(g, g.inputs["x"], 0, 2, 1, 3), g.constant("w", random(3, 4, 2))
    ),
    "rows of a batch by a matrix": lambda g: g.op(
        "MatMul", turn(g, g.inputs["x"], 0, 1, 3, 2), g.constant("w", random(3, 2))
    ),
    "rows outermost, by fewer axes": lambda g: g.op(
        "MatMul", turn(g, g.inputs["rows"], 1, 0, 2), g.constant("w", random(4, 2))
    ),
}


@pytest.mark.parametrize("name", DECLINED)
def test_it_declines_what_flags_cannot_say_or_would_make_slower(name: str) -> None:
    count, ops = after(DECLINED[name])
    assert (count, ops) == (0, {"Transpose": 1, "MatMul": 1})


def test_it_declines_a_transpose_that_others_read_too() -> None:
    def build(g: SmallGraph) -> ir.Value:
        keys = turn(g, g.inputs["z"], 0, 1, 3, 2)
        return g.op("Add", g.op("MatMul", g.inputs["x"], keys), g.op("ReduceSum", g.op("Softmax", keys)))

    count, ops = after(build)
    assert (count, ops["Transpose"], ops["MatMul"]) == (0, 1, 1)


def test_it_declines_operators_that_read_it_as_their_third_input() -> None:
    def build(g: SmallGraph) -> ir.Value:
        keys = turn(g, g.inputs["square"], 0, 2, 1)
        return g.op("Softmax", g.op("Where", g.op("IsNaN", g.inputs["square"]), g.inputs["square"], keys))

    count, ops = after(build)
    assert (count, ops["Transpose"]) == (0, 1)


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.INT32])
def test_it_declines_types_that_the_kernel_lacks(dtype: ir.DataType) -> None:
    g = SmallGraph({"x": (dtype, [2, 3, 4]), "z": (dtype, [2, 3, 4])})
    model = g.model(y=g.op("MatMul", g.inputs["x"], turn(g, g.inputs["z"], 0, 2, 1)))
    assert eliminate_transposes(model.graph) == 0


def test_products_stay_plain_if_told_so() -> None:
    def model() -> ir.Model:
        g = SmallGraph({name: (FLOAT, shape) for name, shape in SHAPES.items()})
        return g.model(y=g.op("MatMul", g.inputs["x"], turn(g, g.inputs["z"], 0, 1, 3, 2)))

    count, ops = rewritten(partial(eliminate_transposes, fuse_into_matmul=False), model, INPUTS)
    assert (count, ops) == (0, {"Transpose": 1, "MatMul": 1})


def test_it_declines_where_an_output_of_the_graph_would_only_become_an_identity() -> None:
    def model() -> ir.Model:
        g = SmallGraph({name: (FLOAT, shape) for name, shape in SHAPES.items()})
        return g.model(y=turn(g, turn(g, g.inputs["x"], 0, 2, 1, 3), 0, 2, 1, 3))

    count, ops = rewritten(eliminate_transposes, model, INPUTS)
    assert (count, ops) == (0, {"Transpose": 2})


# --- Whisper ------------------------------------------------------------------------------------------------------

DIMS = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=3000)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("transposes") / "random.pt", DIMS, seed=4))


def decoder_inputs(*, n_seq: int, n_new: int, n_past: int) -> dict[str, np.ndarray]:
    head_dim = DIMS.n_text_state // DIMS.n_text_head
    inputs: dict[str, np.ndarray] = {
        "tokens": GENERATOR.integers(0, DIMS.n_vocab, (n_seq, n_new)),
        "logit_positions": np.arange(n_new),
    }
    for layer in range(DIMS.n_text_layer):
        for kind, cross in (("k", (head_dim, DIMS.n_audio_ctx)), ("v", (DIMS.n_audio_ctx, head_dim))):
            past = GENERATOR.standard_normal((n_seq, DIMS.n_text_head, n_past, head_dim)).astype(np.float32)
            inputs[f"past_self_{kind}_{layer}"] = past
            inputs[f"cross_{kind}_{layer}"] = GENERATOR.standard_normal((1, DIMS.n_text_head, *cross)).astype(
                np.float32
            )
    return inputs


@pytest.mark.parametrize(("n_new", "n_past"), [(4, 0), (1, 7)])
def test_in_our_decoder_the_cache_and_the_embedding_are_no_longer_turned(
    checkpoint: Checkpoint, n_new: int, n_past: int
) -> None:
    inputs = decoder_inputs(n_seq=3, n_new=n_new, n_past=n_past)
    count, ops = rewritten(eliminate_transposes, lambda: export_decoder(checkpoint), inputs, close=CLOSE)
    assert count == DIMS.n_text_layer + 1
    assert ops[FUSED] == DIMS.n_text_layer + 1
    assert ops["Transpose"] == 6 * DIMS.n_text_layer  # heads split off queries, keys and values, and put together


def test_a_decoder_for_steps_only_loses_every_transpose(checkpoint: Checkpoint) -> None:
    def build() -> ir.Model:
        model = export_decoder(checkpoint)
        tokens = next(value for value in model.graph.inputs if value.name == "tokens")
        tokens.shape = ir.Shape(["n_seq", 1])
        fold_constants(model.graph)  # the number of positions, too, is one
        return model

    inputs = decoder_inputs(n_seq=3, n_new=1, n_past=7)
    count, ops = rewritten(eliminate_transposes, build, inputs, close=CLOSE)
    assert count == 7 * DIMS.n_text_layer + 1
    assert "Transpose" not in ops


def test_in_our_encoder_every_transpose_moves_something(checkpoint: Checkpoint) -> None:
    mel = GENERATOR.standard_normal((2, DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)
    count, _ = rewritten(eliminate_transposes, lambda: export_encoder(checkpoint), {"mel": mel}, close=CLOSE)
    assert count == 0


FOREIGN = {"openai": "decoder", "transformers-torchscript": "decoder", "optimum": "decoder"}
"""Exports in which keys are turned twice, or once before a product."""


@pytest.mark.parametrize("name", EXPORTS)
def test_foreign_graphs_keep_their_numbers(name: str) -> None:
    foreign = foreign_graph(name)
    before = op_counts(foreign.model().graph)["Transpose"]
    count, ops = rewritten(eliminate_transposes, foreign.model, foreign.inputs(), close=CLOSE)
    assert ops.get("Transpose", 0) <= before
    if any(name.startswith(form) and part in name for form, part in FOREIGN.items()):
        assert count > 0
        assert ops.get("Transpose", 0) < before
