"""Growing caches become buffers that are written in place, and the numbers stay."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.contract import contract_of
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import aliases_of, new_op, nodes_of
from stagewhisper.compiler.passes.make_kv_cache_static import UNFILLED, make_kv_cache_static
from stagewhisper.errors import OptionError
from tests.checkpoints import random_dims, save_openai
from tests.compiler.foreign_graphs import FORMS, foreign_graph, op_counts, run

CLOSE = 1e-5
"""Nothing is computed in another order; only the MatMul's operands may lie elsewhere in memory."""

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300, n_text_ctx=24)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("static") / "random.pt", dims, seed=3))


def decoder_inputs(checkpoint: Checkpoint, *, n_seq: int = 3, n_new: int = 1, n_past: int = 5) -> dict[str, np.ndarray]:
    dims, generator = checkpoint.dims, np.random.default_rng(n_past)
    head_dim = dims.n_text_state // dims.n_text_head
    inputs: dict[str, np.ndarray] = {
        "tokens": generator.integers(0, dims.n_vocab, (n_seq, n_new)),
        "logit_positions": np.arange(n_new),
    }
    shapes = {
        "past_self_k": (n_seq, dims.n_text_head, n_past, head_dim),
        "past_self_v": (n_seq, dims.n_text_head, n_past, head_dim),
        "cross_k": (1, dims.n_text_head, head_dim, dims.n_audio_ctx),
        "cross_v": (1, dims.n_text_head, dims.n_audio_ctx, head_dim),
    }
    for layer in range(dims.n_text_layer):
        for name, shape in shapes.items():
            inputs[f"{name}_{layer}"] = generator.standard_normal(shape).astype(np.float32)
    return inputs


def adapted(model: ir.Model, inputs: Arrays) -> dict[str, np.ndarray]:
    """The inputs, as the graph with buffers wants them."""
    return dict(contract_of(make_kv_cache_static).adapt_inputs(inputs, model.graph))


def assert_equal_after(before: ir.Model, after: ir.Model, inputs: Arrays) -> None:
    given = adapted(after, inputs)
    expected, found = run(before, inputs), contract_of(make_kv_cache_static).adapt_outputs(run(after, given), given)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=CLOSE, err_msg=name)


def test_every_growing_cache_becomes_a_buffer(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    names = [value.name for value in model.graph.inputs], [value.name for value in model.graph.outputs]
    n_caches = 2 * checkpoint.dims.n_text_layer
    assert make_kv_cache_static(model.graph) == n_caches
    assert [value.name for value in model.graph.inputs] == [*names[0], "n_past"]
    assert [value.name for value in model.graph.outputs] == names[1]
    caches = [value for value in (*model.graph.inputs, *model.graph.outputs) if "_self_" in str(value.name)]
    assert {str(value.shape) for value in caches} == {"[n_seq,2,24,16]"}
    assert op_counts(model.graph)["ScatterND"] == op_counts(model.graph)["Slice"] == n_caches
    assert aliases_of(model.graph) == {
        f"past_self_{kind}_{layer}": f"present_self_{kind}_{layer}"
        for layer in range(checkpoint.dims.n_text_layer)
        for kind in "kv"
    }


def test_no_cache_is_concatenated_or_asked_for_its_length(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph)
    assert "n_past" in [value.name for value in model.graph.inputs]
    for value in model.graph.inputs:
        if str(value.name).startswith("past_"):
            assert [use.node.op_type for use in value.uses()] == ["ScatterND"]
    assert all(not node.outputs[0].is_graph_output() for node in nodes_of(model.graph, "Concat"))


def test_a_second_run_changes_nothing(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph)
    counts = op_counts(model.graph)
    assert make_kv_cache_static(model.graph) == 0
    assert op_counts(model.graph) == counts


@pytest.mark.parametrize(("n_new", "n_past"), [(4, 0), (1, 4), (1, 23), (5, 7)])
def test_prompt_and_step_give_the_same_numbers(checkpoint: Checkpoint, n_new: int, n_past: int) -> None:
    after = export_decoder(checkpoint)
    make_kv_cache_static(after.graph)
    assert_equal_after(export_decoder(checkpoint), after, decoder_inputs(checkpoint, n_new=n_new, n_past=n_past))


def test_nothing_reads_what_is_not_filled(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph)
    inputs = adapted(model, decoder_inputs(checkpoint))
    unread = {name: np.where(array == np.float32(UNFILLED), np.nan, array) for name, array in inputs.items()}
    unread = {name: array.astype(inputs[name].dtype) for name, array in unread.items()}
    assert any(np.isnan(array).any() for array in unread.values())
    np.testing.assert_array_equal(run(model, unread)["logits"], run(model, inputs)["logits"])


def test_a_buffer_serves_a_prompt_and_all_its_steps(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Prompt and steps on one set of buffers equal one call on all tokens."""
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph)
    session = opened(model, tmp_path)
    inputs = adapted(model, decoder_inputs(checkpoint, n_new=9, n_past=0))
    expected = run(model, inputs)
    buffers = {
        past: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(inputs[past])) for past in aliases_of(model.graph)
    }
    logits = []
    for first, last in ((0, 4), (4, 5), (5, 6), (6, 9)):
        binding = bound(session, buffers, aliases_of(model.graph))
        for name, array in inputs.items():
            if name not in buffers:
                binding.bind_cpu_input(name, array)
        binding.bind_cpu_input("tokens", np.ascontiguousarray(inputs["tokens"][:, first:last]))
        binding.bind_cpu_input("logit_positions", np.arange(last - first))
        binding.bind_cpu_input("n_past", np.asarray(first))
        binding.bind_output("logits", "cpu")
        session.run_with_iobinding(binding)
        logits.append(binding.get_outputs()[-1].numpy())
    np.testing.assert_allclose(np.concatenate(logits, axis=1), expected["logits"], atol=CLOSE)
    for past, present in aliases_of(model.graph).items():
        np.testing.assert_allclose(buffers[past].numpy(), expected[present], atol=CLOSE)


def test_a_shared_buffer_is_not_copied(tmp_path: Path) -> None:
    """Writing one position takes a small part of the time of copying 67 MB: a quarter is asked, far less is usual."""
    shape = (1, 4, 65_536, 64)
    past, new = (
        ir.val("past_k", ir.DataType.FLOAT, ["n", 4, "n_past", 64]),
        ir.val("new", ir.DataType.FLOAT, ["n", 4, "m", 64]),
    )
    concat = ir.node("Concat", [past, new], {"axis": 2})
    concat.outputs[0].name, concat.outputs[0].dtype = "present_k", ir.DataType.FLOAT
    graph = ir.Graph([past, new], concat.outputs, nodes=[concat], opset_imports={"": 20}, name="cache")
    assert make_kv_cache_static(graph, length=shape[2]) == 1
    model = ir.Model(graph, ir_version=10)
    session = opened(model, tmp_path)
    seconds = {}
    for shared in (True, False):
        buffer, other = (onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32)) for _ in range(2))
        binding = session.io_binding()
        binding.bind_ortvalue_input("past_k", buffer)
        binding.bind_cpu_input("new", np.ones((1, 4, 1, 64), np.float32))
        binding.bind_cpu_input("n_past", np.asarray(10))
        binding.bind_ortvalue_output("present_k", buffer if shared else other)
        session.run_with_iobinding(binding)
        seconds[shared] = min(timed(session, binding) for _ in range(5))
        assert (buffer if shared else other).numpy()[:, :, 10].all()
    assert seconds[True] < seconds[False] / 4


def test_a_call_past_the_end_of_the_buffer_fails(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph, length=8)
    inputs = adapted(model, decoder_inputs(checkpoint, n_past=7))
    run(model, inputs)
    with pytest.raises(Exception, match=r"out of bounds|invalid ind"):
        run(model, inputs | {"n_past": np.asarray(8)})


def test_the_length_may_be_chosen(checkpoint: Checkpoint) -> None:
    after = export_decoder(checkpoint)
    make_kv_cache_static(after.graph, length=16)
    assert str(after.graph.inputs[2].shape) == "[n_seq,2,16,16]"
    assert_equal_after(export_decoder(checkpoint), after, decoder_inputs(checkpoint, n_past=15))


@pytest.mark.parametrize("length", [-1, 0, 25])
def test_an_impossible_length_is_an_error(checkpoint: Checkpoint, length: int) -> None:
    model = export_decoder(checkpoint)
    with pytest.raises(OptionError, match=f"length {length}.* at (most 24|least 1)"):
        make_kv_cache_static(model.graph, length=length)
    assert "ScatterND" not in op_counts(model.graph)


def test_declines_on_an_encoder(checkpoint: Checkpoint) -> None:
    assert make_kv_cache_static(export_encoder(checkpoint).graph) == 0


def test_declines_when_a_cache_is_read_otherwise(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    past = model.graph.inputs[-4]
    assert past.name == "past_self_k_1"
    concat = next(use.node for use in past.uses() if use.node.op_type == "Concat")
    new_op(model.graph, concat, "Neg", past)
    assert make_kv_cache_static(model.graph) == 0  # all of them, or they would get out of step


def test_declines_when_the_grown_cache_is_not_given_back(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    model.graph.outputs.pop(0)
    assert make_kv_cache_static(model.graph) == 0


def test_declines_when_caches_have_lengths_of_their_own(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    past = model.graph.inputs[-4]
    past.shape = ir.Shape(["n_seq", 2, "n_other", 16])
    assert make_kv_cache_static(model.graph) == 0


def test_declines_when_no_embedding_tells_the_length(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    table = model.graph.initializers["decoder.positional_embedding"]
    gather = next(iter(table.uses())).node
    gather.replace_input_with(0, new_op(model.graph, gather, "Neg", table))
    assert make_kv_cache_static(model.graph) == 0
    assert make_kv_cache_static(model.graph, length=24) == 4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n_new", "n_past"), [(1, 0), (1, 7), (3, 7)])
def test_foreign_decoders_give_the_same_numbers(form: str, n_new: int, n_past: int) -> None:
    graph = foreign_graph(f"{form}/decoder_with_past")
    if form.startswith("openai") and n_new > 1:
        pytest.skip("its steps take one token")
    after = graph.model()
    assert make_kv_cache_static(after.graph) == 2 * graph.dims.n_text_layer
    assert {value.shape[-2] for value in after.graph.outputs if "present" in str(value.name) and value.shape} == {448}
    assert_equal_after(graph.model(), after, graph.inputs(n_new=n_new, n_past=n_past))
    assert make_kv_cache_static(after.graph) == 0


@pytest.mark.parametrize("form", FORMS)
def test_declines_on_foreign_decoders_without_a_cache(form: str) -> None:
    assert make_kv_cache_static(foreign_graph(f"{form}/decoder").model().graph) == 0


def opened(model: ir.Model, folder: Path) -> onnxruntime.InferenceSession:
    ir.save(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


def bound(
    session: onnxruntime.InferenceSession, buffers: Mapping[str, onnxruntime.OrtValue], aliases: Mapping[str, str]
) -> onnxruntime.IOBinding:
    """A binding in which every cache is read from and written to one buffer."""
    binding = session.io_binding()
    for past, buffer in buffers.items():
        binding.bind_ortvalue_input(past, buffer)
        binding.bind_ortvalue_output(aliases[past], buffer)
    return binding


def timed(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> float:
    started = time.perf_counter()
    session.run_with_iobinding(binding)
    return time.perf_counter() - started
