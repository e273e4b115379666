"""A profile's numbers are those of what ran: shapes, bytes and operations are counted, times add up."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.bundle import Bundle
from stagewhisper.checkpoint import ModelDims, load_checkpoint
from stagewhisper.compiler import compile_checkpoint
from stagewhisper.compiler.chrome_trace import chrome_trace
from stagewhisper.compiler.graph_facts import GraphFacts, graph_facts
from stagewhisper.compiler.node_flops import NodeFacts, node_work
from stagewhisper.compiler.phase_bytes import phase_bytes
from stagewhisper.compiler.pipeline import FP32
from stagewhisper.compiler.profile import profile
from stagewhisper.compiler.profile_calls import Subject, recorded, timed
from stagewhisper.compiler.profile_inputs import Call, call_inputs
from stagewhisper.compiler.profile_options import Phase, ProfileOptions, phases_of
from stagewhisper.compiler.profile_results import MachineRates, PhaseProfile, Profile, floor_of, merged_nodes
from stagewhisper.compiler.profiler_events import NodeEvent, TensorShape, recorded_calls
from stagewhisper.compiler.recipe import load_recipe
from stagewhisper.compiler.roofline import best_rates
from stagewhisper.compiler.sessions import open_session
from stagewhisper.errors import BundleError, OptionError
from stagewhisper.hub import find_model
from tests.checkpoints import random_dims, save_openai

N_AUDIO, N_GROUP, POSITION = 2, 3, 7
STEP = Call(n_audio=N_AUDIO, n_seq=N_AUDIO * N_GROUP, n_new=1, n_past=POSITION)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("profile")
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_text_head=4, n_text_layer=3)
    checkpoint = load_checkpoint(save_openai(folder / "random.pt", dims))
    plain = compile_checkpoint(
        checkpoint, folder / "plain", source="5", check="off", disabled=[step.name for step in FP32]
    )
    return plain.bundle


@pytest.fixture(scope="module")
def optimised(bundle: Bundle) -> Bundle:
    checkpoint = load_checkpoint(bundle.path.parent / "random.pt")
    return compile_checkpoint(checkpoint, bundle.path.parent / "optimised", source="5", check="off").bundle


@pytest.fixture(scope="module")
def profiled(bundle: Bundle, optimised: Bundle) -> Profile:
    options = ProfileOptions(n_audio=N_AUDIO, n_group=N_GROUP, positions=(POSITION, 440), threads=1, repeats=3)
    return profile(bundle, optimised, options=options, names=("before", "after"))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded model in int8: attention in a Scan in its encoder, and in an If in its decoder."""
    checkpoint = load_checkpoint(find_model("nano"))
    path = tmp_path_factory.mktemp("quantized") / "int8"
    return compile_checkpoint(checkpoint, path, source="5", recipe=load_recipe("int8"), check="off").bundle


@pytest.fixture(scope="module")
def profiled_int8(quantized: Bundle) -> dict[str, PhaseProfile]:
    options = ProfileOptions(positions=(POSITION,), threads=1, repeats=3)
    return {phase.name: phase for phase in profile(quantized, options=options).bundles[0].phases}


@pytest.fixture(scope="module")
def phases(profiled: Profile) -> dict[str, PhaseProfile]:
    return {phase.name: phase for phase in profiled.bundles[0].phases}


def event(op_type: str, inputs: list[list[int]], outputs: list[list[int]], *, name: str = "node") -> NodeEvent:
    seen, made = (tuple(TensorShape("float", tuple(shape)) for shape in each) for each in (inputs, outputs))
    return NodeEvent(name, op_type, 0, 0.0, 1e-6, seen, made, output_bytes=0)


def flops(node: NodeEvent, *, n_total: int = 11, **facts: Any) -> int:
    return node_work(node, n_total=n_total, n_text_ctx=448, facts={"node": NodeFacts(**facts)}).flops


def encoder_flops(dims: ModelDims, n_audio: int) -> int:
    """Operations of the paper's equations, cross-attention's keys and values among them."""
    state, n = dims.n_audio_state, dims.n_audio_ctx
    convolutions = 2 * (2 * n) * state * dims.n_mels * 3 + 2 * n * state * state * 3
    block = 2 * n * state * state * (4 + 8) + 4 * n * n * state
    cross = dims.n_text_layer * 2 * 2 * n * state * dims.n_text_state
    return n_audio * (convolutions + dims.n_audio_layer * block + cross)


def decoder_flops(dims: ModelDims, call: Call) -> int:
    state = dims.n_text_state
    linear = 2 * state * state * (4 + 2 + 8)
    attention = 4 * state * (call.n_total + dims.n_audio_ctx)
    head = 2 * state * dims.n_vocab
    return call.n_seq * (call.n_new * dims.n_text_layer * (linear + attention) + head)


def decoder_parameters(dims: ModelDims) -> int:
    state = dims.n_text_state
    attention = 4 * state * state + 3 * state  # keys have no bias
    layer = 2 * attention + 8 * state * state + 5 * state + 3 * 2 * state
    # The encoder's graph makes the cross-attention's keys and values.
    elsewhere = 2 * state * state + state
    tables = (dims.n_vocab + dims.n_text_ctx) * state
    return dims.n_text_layer * (layer - elsewhere) + 2 * state + tables


def test_the_phases_are_encoder_prompt_and_steps(profiled: Profile) -> None:
    assert [bundle.name for bundle in profiled.bundles] == ["before", "after"]
    for found in profiled.bundles:
        assert [phase.name for phase in found.phases] == ["encoder", "prompt", "step at 7", "step at 440"]
        assert all(phase.n_repeats == 3 for phase in found.phases)


def test_operations_are_those_of_the_papers_equations(bundle: Bundle, phases: dict[str, PhaseProfile]) -> None:
    dims = bundle.dims
    assert phases["encoder"].fp32_flops == encoder_flops(dims, N_AUDIO)
    assert phases["step at 7"].fp32_flops == decoder_flops(dims, STEP)
    assert phases["step at 440"].fp32_flops == decoder_flops(dims, replace(STEP, n_past=440))
    assert phases["prompt"].fp32_flops == decoder_flops(dims, Call(n_audio=2, n_seq=2, n_new=4, n_past=0))
    assert all(phase.int8_flops == 0 and phase.uncounted == () for phase in phases.values())


def test_bytes_are_weights_and_caches(bundle: Bundle, phases: dict[str, PhaseProfile]) -> None:
    dims, found = bundle.dims, phases["step at 7"].bytes
    tables = 4 * dims.n_text_state * dims.n_text_ctx  # positions: one row is read; tokens are the head's weights too
    whole = 4 * decoder_parameters(dims) - tables
    assert whole < found.weights < whole + 1000  # one row, and the constants of shapes
    position = 4 * STEP.n_seq * dims.n_text_layer * 2 * dims.n_text_state
    assert found.self_cache_read == POSITION * position
    assert found.self_cache_written == (POSITION + 1) * position  # a growing cache is written anew
    assert found.cross_cache == 4 * N_AUDIO * dims.n_text_layer * 2 * dims.n_audio_ctx * dims.n_text_state
    assert found.other_outputs == 4 * STEP.n_seq * dims.n_vocab
    # Beams are Expanded: their cross keys and values are written for each.
    assert found.intermediate > N_GROUP * found.cross_cache


def test_passes_write_one_position_and_no_copy_of_cross_attention(bundle: Bundle, profiled: Profile) -> None:
    before, after = (
        next(phase.bytes for phase in found.phases if phase.name == "step at 7") for found in profiled.bundles
    )
    position = 4 * STEP.n_seq * bundle.dims.n_text_layer * 2 * bundle.dims.n_text_state
    assert after.self_cache_read == POSITION * position
    assert after.self_cache_written == position
    assert after.cross_cache == before.cross_cache
    assert after.intermediate < N_GROUP * after.cross_cache < before.intermediate


def test_times_are_positive_and_shares_add_up(phases: dict[str, PhaseProfile]) -> None:
    for phase in phases.values():
        assert 0 < phase.elapsed <= phase.elapsed_p90
        assert sum(operator.share for operator in phase.operators) == pytest.approx(1)
        assert sum(operator.count for operator in phase.operators) == len(phase.nodes)
        assert phase.operators_elapsed > 0
        assert phase.trace.elapsed >= max(node.elapsed for node in phase.trace.nodes)
        assert [operator.elapsed for operator in phase.operators] == sorted(
            (operator.elapsed for operator in phase.operators), reverse=True
        )


def test_the_floor_is_the_longer_of_compute_and_memory(phases: dict[str, PhaseProfile]) -> None:
    phase = replace(phases["step at 7"], fp32_flops=3_000, int8_flops=8_000, elapsed=10.0)
    moved = phase.bytes.moved
    slow_products = floor_of(phase, MachineRates(fp32=1000.0, int8=4000.0, bandwidth=float(moved)))
    assert (slow_products.compute, slow_products.memory, slow_products.bound) == (5.0, 1.0, "compute")
    assert slow_products.ratio == 2.0
    slow_memory = floor_of(phase, MachineRates(fp32=1e6, int8=1e6, bandwidth=moved / 8))
    assert (slow_memory.elapsed, slow_memory.bound, slow_memory.ratio) == (8.0, "memory", 1.25)
    assert slow_memory.flops_rate == 1100.0
    assert slow_memory.bandwidth == moved / 10


def test_the_document_is_json_and_has_what_was_measured(profiled: Profile) -> None:
    document = json.loads(json.dumps(profiled.to_dict()))
    assert document["rates"]["fp32"] == profiled.rates.fp32 > 0
    (phase, *_), *_ = [found["phases"] for found in document["bundles"]]
    own = profiled.bundles[0].phases[0]
    assert phase["elapsed"] == own.elapsed
    assert phase["bytes"]["moved"] == own.bytes.moved
    assert phase["operators"][0]["average"] == own.operators[0].average
    assert phase["floor"]["ratio"] == floor_of(own, profiled.rates).ratio


def test_the_trace_has_a_process_for_each_bundle_and_a_track_for_each_phase(profiled: Profile) -> None:
    events = json.loads(json.dumps(chrome_trace(profiled)))["traceEvents"]
    named = [found["args"]["name"] for found in events if found["name"] == "thread_name"]
    assert named == ["encoder", "prompt", "step at 7", "step at 440"] * 2
    assert [found["args"]["name"] for found in events if found["name"] == "process_name"] == ["before", "after"]
    calls = {(found["pid"], found["tid"]): found for found in events if found.get("cat") == "call"}
    nodes = [found for found in events if found.get("cat") == "node"]
    assert len(calls) == 8
    assert len(nodes) == sum(len(phase.nodes) for bundle in profiled.bundles for phase in bundle.phases)
    for node in nodes:
        call = calls[node["pid"], node["tid"]]
        assert 0 <= node["ts"] <= node["ts"] + node["dur"] <= call["dur"] + 2  # each is rounded to microseconds


def test_the_machines_rates_are_measured(profiled: Profile) -> None:
    rates = profiled.rates
    assert rates.fp32 > 1e9
    assert rates.int8 > 1e9
    assert rates.bandwidth > 1e8
    assert best_rates(MachineRates(1, 5, 3), MachineRates(2, 4, 6)) == MachineRates(2, 5, 6)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (event("MatMul", [[5, 1, 64]], [[5, 1, 256]]), 2 * 5 * 64 * 256),  # the weights are packed: no shape
        (event("MatMul", [[5, 2, 1, 32], [5, 2, 32, 9]], [[5, 2, 1, 9]]), 2 * 5 * 2 * 32 * 9),
        (event("FusedMatMul", [[2, 32, 7], [2, 32, 9]], [[2, 7, 9]]), 2 * 2 * 7 * 32 * 9),  # left side transposed
        (event("MultiHeadAttention", [[1, 40, 64], [1, 1500, 64], [1, 1500, 64]], [[1, 40, 64]]), 4 * 40 * 64 * 1500),
        (event("MultiHeadAttention", [[1, 40, 2, 3, 32]], [[1, 40, 64]]), 4 * 40 * 64 * 40),
        (event("GroupQueryAttention", [[6, 1, 64]], [[6, 1, 64], [6, 2, 448, 32]]), 4 * 6 * 64 * 11),
        (event("GroupQueryAttention", [[6, 1, 64]], [[6, 1, 64], [6, 2, 1500, 32]]), 4 * 6 * 64 * 1500),
        (event("Attention", [[1, 40, 64]], [[1, 40, 64]]), 2 * 40 * 64 * 192 + 4 * 40 * 64 * 40),
        (event("Softmax", [[5, 2, 1, 9]], [[5, 2, 1, 9]]), 0),
    ],
)
def test_operations_are_counted_from_shapes(node: NodeEvent, expected: int) -> None:
    assert flops(node) == expected


def test_a_convolutions_kernel_is_found_in_the_graph() -> None:
    node = event("Conv", [[1, 80, 3000]], [[1, 64, 3000]])
    assert flops(node, weight_shapes=((64, 80, 3), (64,))) == 2 * 64 * 3000 * 80 * 3
    assert not node_work(node, n_total=1, n_text_ctx=448).is_known


def test_int8_products_are_told_from_those_of_floats() -> None:
    node = event("MatMulNBits", [[1, 1, 64]], [[1, 1, 256]])
    assert node_work(node, n_total=1, n_text_ctx=448, facts={"node": NodeFacts(accuracy_level=4)}).is_int8
    assert not node_work(node, n_total=1, n_text_ctx=448, facts={"node": NodeFacts(accuracy_level=1)}).is_int8
    assert node_work(event("DynamicQuantizeMatMul", [[1, 64]], [[1, 9]]), n_total=1, n_text_ctx=448).is_int8


def static_graph(path: Path) -> None:
    """A cache of 16 positions that is written in place at `n_past`, as make_kv_cache_static makes it."""
    from stagewhisper.compiler.graph_tools import alias

    past = ir.val("past_self_k_0", ir.DataType.FLOAT, ["n_seq", 2, 16, 4])
    n_past = ir.val("n_past", ir.DataType.INT64, [])
    ones = ir.Value(name="ones", const_value=ir.tensor(np.ones((1, 2, 16, 4), np.float32), name="ones"))
    number = ir.node("Cast", [n_past], {"to": int(ir.DataType.FLOAT)})
    scaled = ir.node("Mul", [ones, number.outputs[0]])
    total = ir.node("Add", [past, scaled.outputs[0]])
    present = total.outputs[0]
    present.name, present.dtype, present.shape = "present_self_k_0", ir.DataType.FLOAT, past.shape
    nodes = [number, scaled, total]
    graph = ir.Graph([past, n_past], [present], nodes=nodes, initializers=[ones], opset_imports={"": 20}, name="static")
    alias(graph, "past_self_k_0", "present_self_k_0")
    ir.save(ir.Model(graph, ir_version=10), path)


def test_a_cache_of_fixed_length_is_written_in_place_and_counted_by_position(tmp_path: Path) -> None:
    path = tmp_path / "static.onnx"
    static_graph(path)
    facts = graph_facts(path)
    assert facts.aliases == {"past_self_k_0": "present_self_k_0"}
    call = Call(n_audio=1, n_seq=3, n_new=1, n_past=5)
    phase, subject = Phase("step at 5", "decoder", call), Subject(path, 10, facts)
    ((timing,),) = timed([subject], [phase], threads=1, repeats=2, on_phase=lambda _: None)
    (((only, _),),) = recorded([subject], [phase], threads=1, repeats=[2])
    # Every call added n_past to the buffer in place: two to warm up, two that count, one to see the outputs.
    fresh = call_inputs(open_session(path).get_inputs(), call, n_vocab=10)
    assert fresh["n_past"] == 5
    found = phase_bytes(call, inputs=timing.inputs, outputs=timing.output_bytes, nodes=only.nodes, facts=facts)
    position = 4 * 3 * 2 * 4
    assert (found.self_cache_read, found.self_cache_written) == (5 * position, position)
    assert found.weights == 4 * 2 * 16 * 4
    assert found.other_inputs == 8


def test_an_output_written_in_place_is_its_inputs_buffer(tmp_path: Path) -> None:
    from stagewhisper.compiler.sessions import bound_call, value_of

    path = tmp_path / "static.onnx"
    static_graph(path)
    session = open_session(path, threads=1)
    past = value_of(np.zeros((1, 2, 16, 4), np.float32))
    inputs = {"past_self_k_0": past, "n_past": value_of(np.asarray(5))}
    for _ in range(2):
        session.run_with_iobinding(bound_call(session, inputs, graph_facts(path).aliases))
    np.testing.assert_array_equal(past.numpy(), np.full((1, 2, 16, 4), 10, np.float32))


def given(name: str, dtype: str, shape: list[int | str]) -> SimpleNamespace:
    return SimpleNamespace(name=name, type=f"tensor({dtype})", shape=shape)


def test_inputs_follow_their_names_types_and_shapes() -> None:
    made = call_inputs(
        [
            given("tokens", "int64", ["n_seq", "n_new"]),
            given("logit_positions", "int64", ["n_positions"]),
            given("past_self_k_0", "float", ["n_seq", 2, 448, 32]),
            given("past_self_v_0", "int8", ["n_seq", 2, "n_past", 32]),
            given("cross_k_0", "float16", ["n_audio", 2, 32, 40]),
            given("n_past", "int64", []),
            given("seqlens_k", "int32", ["n_seq"]),
            given("total_sequence_length", "int32", []),
        ],
        STEP,
        n_vocab=50,
    )
    assert made["tokens"].shape == (6, 1)
    assert 0 <= made["tokens"].min() <= made["tokens"].max() < 50
    assert made["logit_positions"].tolist() == [0]
    assert made["past_self_k_0"].shape == (6, 2, 448, 32)
    assert made["past_self_v_0"].shape == (6, 2, POSITION, 32)
    assert made["past_self_v_0"].dtype == np.int8
    assert made["cross_k_0"].shape == (2, 2, 32, 40)
    assert made["cross_k_0"].dtype == np.float16
    assert made["n_past"] == POSITION
    assert made["seqlens_k"].tolist() == [POSITION] * 6
    assert made["total_sequence_length"] == POSITION + 1


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        (given("x", "float", ["batch_size"]), "'x' has an axis 'batch_size'"),
        (given("x", "string", [1]), r"'x' is a tensor\(string\)"),
        (given("mystery", "int64", [1]), "'mystery' is not known"),
    ],
)
def test_an_unknown_input_is_named(unknown: SimpleNamespace, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        call_inputs([unknown], STEP, n_vocab=50)


def test_tables_of_which_rows_are_read_do_not_count_as_weights(bundle: Bundle) -> None:
    facts = graph_facts(bundle.decoder)
    everything = bundle.dims.n_text_ctx * bundle.dims.n_text_state * 4 + facts.weight_bytes
    assert everything >= (bundle.path / "decoder.weights").stat().st_size
    assert len(facts.table_readers) == 1


def test_positions_that_the_model_does_not_have_are_left_out_or_refused() -> None:
    names = [phase.name for phase in phases_of(ProfileOptions(), n_text_ctx=200)]
    assert names == ["encoder", "prompt", "step at 10", "step at 100"]
    with pytest.raises(OptionError, match="no step at position 448: this model's go from 0 to 447"):
        phases_of(ProfileOptions(positions=(3, 448)), n_text_ctx=448)
    with pytest.raises(OptionError, match="n_prompt is 500"):
        phases_of(ProfileOptions(n_prompt=500), n_text_ctx=448)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_audio": 0}, "n_audio is 0"),
        ({"n_group": -1}, "n_group is -1"),
        ({"repeats": 0}, "repeats is 0"),
        ({"repeats": 1000}, "repeats is 1000, and has to be 200 or less"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ProfileOptions(**options)


def test_a_graph_that_onnx_runtime_refuses_is_a_bundle_error(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"cannot load .*encoder\.onnx"):
        open_session(tmp_path / "encoder.onnx")


def run_entry(ts: int, dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "args": {}}


def node_entry(name: str, ts: int, dur: int = 5, *, op_type: str = "Add") -> dict[str, Any]:
    about = {"op_name": op_type, "node_index": "3", "output_size": "8", "output_type_shape": [{"float": [2]}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": about}


def test_recorded_nodes_belong_to_the_call_in_whose_time_they_ran(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    late, b, a = node_entry("late", 150), node_entry("b", 20), node_entry("a", 10)
    path.write_text(json.dumps([late, run_entry(100, 90), b, a, run_entry(9, 50)]))
    first, second = recorded_calls(path)
    assert ([found.name for found in first.nodes], [found.name for found in second.nodes]) == (["a", "b"], ["late"])
    assert second.nodes[0].start == pytest.approx(50e-6)
    assert first.elapsed == pytest.approx(50e-6)
    assert second.nodes[0].outputs == (TensorShape("float", (2,)),)


def test_facts_need_no_weights(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "decoder.onnx").write_bytes(bundle.decoder.read_bytes())
    found: GraphFacts = graph_facts(tmp_path / "decoder.onnx")
    assert found.weight_bytes == graph_facts(bundle.decoder).weight_bytes > 0


def test_a_containers_own_time_is_what_the_nodes_within_it_leave(tmp_path: Path) -> None:
    entries = [
        run_entry(0, 1000),
        node_entry("before", 10, 5),
        node_entry("x", 120, 30),
        node_entry("y", 160, 20),
        node_entry("inner", 110, 90, op_type="If"),
        node_entry("z", 210, 40),
        node_entry("outer", 100, 200, op_type="Scan"),
        node_entry("after", 299, 1),  # both times are cut to microseconds
    ]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(entries))
    (call,) = recorded_calls(path)
    assert [node.name for node in call.nodes] == ["before", "outer", "inner", "x", "y", "z", "after"]
    assert [node.container for node in call.nodes] == ["", "", "outer", "inner", "inner", "outer", ""]
    own = [round(1e6 * node.own_elapsed) for node in call.nodes]
    assert own == [5, 200 - 90 - 40, 90 - 30 - 20, 30, 20, 40, 1]
    nodes = merged_nodes([call], [0] * 7)
    assert [round(1e6 * node.elapsed) for node in nodes] == own
    assert [node.output_bytes for node in nodes] == [8, 0, 0, 8, 8, 8, 8]


def test_nodes_of_the_same_name_in_two_containers_are_two(tmp_path: Path) -> None:
    entries = [run_entry(0, 1000)]
    for start, name, dur in ((100, "cross_0", 30), (300, "cross_1", 60)):
        entries += [node_entry("node", start + 9, dur), node_entry(name, start, 90, op_type="If")]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(entries))
    nodes = merged_nodes(recorded_calls(path), [0] * 4)
    assert [round(1e6 * node.elapsed) for node in nodes if node.name == "node"] == [30, 60]


def test_no_node_of_a_quantised_model_counts_twice(profiled_int8: dict[str, PhaseProfile]) -> None:
    containers = {"encoder": "Scan", "prompt": "If", f"step at {POSITION}": "If"}
    for name, op_type in containers.items():
        phase = profiled_int8[name]
        (container,) = [operator for operator in phase.operators if operator.op_type == op_type]
        assert container.count > 1
        spans = sum(node.elapsed for node in phase.trace.nodes if node.op_type == op_type)
        within = sum(node.own_elapsed for node in phase.trace.nodes if node.container)
        assert 0 < within < spans, "the nodes of the containers' graphs are listed themselves"
        assert sum(node.own_elapsed for node in phase.trace.nodes) <= phase.trace.elapsed
        assert container.elapsed < 0.5 * spans
        assert all(node.output_bytes == 0 for node in phase.nodes if node.op_type == op_type)


def test_nodes_in_branches_are_told_by_their_names(profiled_int8: dict[str, PhaseProfile]) -> None:
    for name in ("prompt", f"step at {POSITION}"):
        nodes = profiled_int8[name].trace.nodes
        inner = [node.name for node in nodes if node.container]
        assert inner
        assert len({node.name for node in nodes}) == len(nodes)
        assert all(node.name.startswith(f"{node.container}_") for node in nodes if node.container)


def test_the_audios_cache_is_read_and_not_written(quantized: Bundle, profiled_int8: dict[str, PhaseProfile]) -> None:
    dims = quantized.dims
    frames = 2 * dims.n_text_layer * dims.n_audio_ctx * dims.n_text_state
    for name, n_new in (("prompt", 4), (f"step at {POSITION}", 1)):
        phase = profiled_int8[name]
        assert frames < phase.bytes.cross_cache < 1.2 * frames, "int8, and scales"
        assert phase.bytes.other_outputs == 4 * dims.n_vocab
        # Attention's inputs and outputs, the MLP's and a few rows of scales: no multiple of the audio's cache.
        assert phase.bytes.intermediate > 0
        assert phase.bytes.intermediate < (frames if n_new == 1 else 3 * frames)
