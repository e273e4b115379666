"""The decoder's self-attention becomes GroupQueryAttention on growing caches and on buffers, and the numbers stay."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.cases import decoder_cases, recorded_windows
from stagewhisper.compiler.equivalence import Equivalence
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.int8_cache import write_scales
from stagewhisper.compiler.pass_manager import PassStep, run_passes
from stagewhisper.compiler.passes.group_query_attention import group_query_attention
from stagewhisper.compiler.passes.make_kv_cache_static import make_kv_cache_static
from stagewhisper.compiler.verify import verify
from stagewhisper.errors import CompilerError
from tests.checkpoints import random_dims, save_openai
from tests.compiler.attention_graphs import Attention, cross_kv, forced_logits
from tests.compiler.foreign_graphs import FORMS, foreign_graph, op_counts, run
from tests.compiler.passes.rewriting import rewritten
from tests.logits import CLOSE, random_tokens

GQA = "com.microsoft::GroupQueryAttention"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300, n_text_layer=3, n_text_ctx=64)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("gqa") / "random.pt", dims, seed=5))


def growing(checkpoint: Checkpoint) -> ir.Model:
    return export_decoder(checkpoint)


def static(checkpoint: Checkpoint) -> ir.Model:
    model = export_decoder(checkpoint)
    assert make_kv_cache_static(model.graph) == 2 * checkpoint.dims.n_text_layer
    return model


BOTH = pytest.mark.parametrize("build", [growing, static])
Build = Callable[[Checkpoint], ir.Model]


@BOTH
def test_every_decoder_layer_becomes_one_operator(checkpoint: Checkpoint, build: Build) -> None:
    model, n_layer = build(checkpoint), checkpoint.dims.n_text_layer
    values = [str(value) for value in (*model.graph.inputs, *model.graph.outputs)]
    assert group_query_attention(model.graph) == n_layer
    verify(model)
    ops = op_counts(model.graph)
    assert ops[GQA] == n_layer
    assert ops["Softmax"] == n_layer, "cross-attention stays"
    assert "ScatterND" not in ops
    assert "Where" not in ops, "the mask is gone"
    assert ops.get("Concat", 0) == 2 * n_layer, "only cross-attention's repetition over beams is left"
    assert [str(value) for value in (*model.graph.inputs, *model.graph.outputs)] == values
    assert group_query_attention(model.graph) == 0


@BOTH
@pytest.mark.parametrize(("n_audio", "n_group", "prompt"), [(1, 1, 4), (1, 5, 20), (2, 3, 7)])
def test_logits_stay_over_a_prompt_and_many_steps_of_beams_that_change_places(
    checkpoint: Checkpoint, build: Build, tmp_path: Path, n_audio: int, n_group: int, prompt: int
) -> None:
    n_seq = n_audio * n_group
    cross, calls = cross_kv(checkpoint, tmp_path, n_audio=n_audio), (prompt, *[1] * 12)
    tokens = random_tokens(checkpoint.dims, n_seq, sum(calls))
    within = np.arange(n_seq).reshape(n_audio, n_group)
    reorder = {1: within[:, ::-1].ravel().tolist(), 5: np.repeat(within[:, :1], n_group, axis=1).ravel().tolist()}
    model = build(checkpoint)
    group_query_attention(model.graph)
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls, reorder=reorder)
    plain = export_decoder(checkpoint)
    expected = forced_logits(plain, cross, tokens, tmp_path / "before", calls=calls, reorder=reorder)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@BOTH
def test_one_sequence_may_get_several_tokens_on_a_filled_cache(
    checkpoint: Checkpoint, build: Build, tmp_path: Path
) -> None:
    cross, calls = cross_kv(checkpoint, tmp_path, n_audio=1), (3, 4, 1, 5)
    tokens = random_tokens(checkpoint.dims, 1, sum(calls))
    model = build(checkpoint)
    group_query_attention(model.graph)
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls)
    expected = forced_logits(export_decoder(checkpoint), cross, tokens, tmp_path / "before", calls=calls)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_several_sequences_may_not_as_the_docstring_says(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = static(checkpoint)
    group_query_attention(model.graph)
    cross, tokens = cross_kv(checkpoint, tmp_path, n_audio=1), random_tokens(checkpoint.dims, 2, 7)
    with pytest.raises(CompilerError, match="batch_size must be 1 when sequence_length > 1 and past context is given"):
        forced_logits(model, cross, tokens, tmp_path, calls=(3, 4))


def test_the_pass_manager_finds_the_numbers_unchanged(tmp_path: Path) -> None:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32, n_audio_layer=1)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims, seed=4))
    cases = decoder_cases(
        export_encoder(checkpoint),
        export_decoder(checkpoint),
        recorded_windows(dims),
        prompt=(50258, 50259, 50359, 50363),
        folder=tmp_path,
    )
    steps = [PassStep("make_kv_cache_static"), PassStep("group_query_attention")]
    report = run_passes(export_decoder(checkpoint), steps, equivalence=Equivalence(cases, tmp_path))
    assert [one.rewrites for one in report.passes] == [2 * dims.n_text_layer, dims.n_text_layer]


def test_new_positions_are_written_into_the_buffer_and_the_others_left_alone(checkpoint: Checkpoint) -> None:
    model = static(checkpoint)
    group_query_attention(model.graph)
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    n_past, n_seq = 9, 2
    generator, binding = np.random.default_rng(0), session.io_binding()
    buffers = {}
    for given in session.get_inputs():
        shape = [n_seq if axis == 0 else dim for axis, dim in enumerate(given.shape)]
        if "past" in given.name and given.name != "n_past":
            buffers[given.name] = generator.standard_normal(shape).astype(np.float32)
        elif "cross" in given.name:
            binding.bind_cpu_input(given.name, np.zeros([1, *shape[1:]], np.float32))
    kept = {name: array.copy() for name, array in buffers.items()}
    for name, array in buffers.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(name.replace("past", "present", 1), value)
    binding.bind_cpu_input("tokens", np.array([[3], [4]]))
    binding.bind_cpu_input("logit_positions", np.array([0]))
    binding.bind_cpu_input("n_past", np.asarray(n_past))
    binding.bind_output("logits")
    session.run_with_iobinding(binding)
    assert buffers
    for name, array in buffers.items():
        changed = (array != kept[name]).any(axis=(0, 1, 3))
        assert np.flatnonzero(changed).tolist() == [n_past], name


@pytest.mark.parametrize("form", FORMS)
def test_it_fires_on_foreign_exports_wherever_their_caches_have_heads(form: str) -> None:
    for part in ("decoder", "decoder_with_past"):
        foreign = foreign_graph(f"{form}/{part}")
        cuts_heads_later = form.startswith("openai") and part == "decoder_with_past"
        for given in ({"n_seq": 2, "n_new": 1}, {"n_seq": 1, "n_new": 4}, {"n_seq": 3, "n_new": 4, "n_past": 0}):
            if cuts_heads_later:
                given["n_new"] = 1
            count, ops = rewritten(group_query_attention, foreign.model, foreign.inputs(**given), close=CLOSE)
            assert count == ops.get(GQA, 0) == (0 if cuts_heads_later else foreign.dims.n_text_layer)


FORMS_THAT_FUSE = [
    Attention(),
    Attention(scaled="queries and keys", guarded=True, flat_turn=True),
    Attention(scaled="scores"),
    Attention(scaled="rows"),
    Attention(scaled="not"),
    Attention(cached=False),
    Attention(n_new=1, mask="none"),
    Attention(head_dim=64),
]


@pytest.mark.parametrize("form", FORMS_THAT_FUSE)
def test_it_understands_many_ways_to_write_attention(form: Attention) -> None:
    calls = [{"n_seq": 3, "n_new": 1, "n_past": 5}]
    if form.n_new != 1:
        calls += [{"n_seq": 3, "n_new": 4, "n_past": 0}, {"n_seq": 1, "n_new": 4, "n_past": 3}]
    for lengths in calls:
        count, ops = rewritten(group_query_attention, form.model, form.inputs(**lengths), close=1e-5)
        assert (count, ops.get("Softmax", 0)) == (1, 0)


@pytest.mark.parametrize(
    "form",
    [
        Attention(mask="none"),
        Attention(mask="window"),
        Attention(mask="soft"),
        Attention(mask="input"),
        Attention(weights_asked=True),
        Attention(cut_wrongly=True),
        Attention(head_dim=4),
        Attention(cached=False, mask="none"),
    ],
)
def test_it_declines_what_is_not_causal_attention_over_neighbouring_channels(form: Attention) -> None:
    model = form.model()
    before = op_counts(model.graph)
    assert group_query_attention(model.graph) == 0
    assert op_counts(model.graph) == before


def test_it_declines_the_encoder(checkpoint: Checkpoint) -> None:
    assert group_query_attention(export_encoder(checkpoint).graph) == 0


def test_float16_runs_on_its_own_kernel() -> None:
    form = Attention(float16=True)
    for lengths in ({"n_seq": 3, "n_new": 1, "n_past": 20}, {"n_seq": 2, "n_new": 6, "n_past": 0}):
        inputs = form.inputs(**lengths)
        model = form.model()
        assert group_query_attention(model.graph) == 1
        found = run(model, inputs)
        exact = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in inputs.items()}
        expected = run(replace(form, float16=False).model(), exact)
        assert {array.dtype for array in found.values()} == {np.dtype(np.float16)}
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=3e-3)  # 11 bits of a number below 4


def filled_caches(checkpoint: Checkpoint, folder: Path, tokens: np.ndarray) -> dict[str, np.ndarray]:
    model, dims = export_decoder(checkpoint), checkpoint.dims
    cross = cross_kv(checkpoint, folder, n_audio=1)
    empty = np.zeros((len(tokens), dims.n_text_head, 0, dims.n_text_state // dims.n_text_head), np.float32)
    names = [f"past_self_{kind}_{layer}" for layer in range(dims.n_text_layer) for kind in "kv"]
    inputs = {"tokens": tokens, "logit_positions": np.array([0]), **dict.fromkeys(names, empty), **cross}
    outputs = run(model, inputs)
    return {name: outputs[name.replace("past", "present", 1)] for name in names}


@BOTH
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_cache_of_8_bits_is_a_quarter_as_large_and_nearly_as_good(
    checkpoint: Checkpoint, build: Build, tmp_path: Path, per_channel: bool
) -> None:
    cross, calls, n_layer = cross_kv(checkpoint, tmp_path, n_audio=1), (6, *[1] * 10), checkpoint.dims.n_text_layer
    tokens = random_tokens(checkpoint.dims, 3, sum(calls))
    scales = tmp_path / "scales.json"
    write_scales(scales, filled_caches(checkpoint, tmp_path, tokens), margin=1.0, per_channel=per_channel)
    model = build(checkpoint)
    assert group_query_attention(model.graph) == n_layer
    assert group_query_attention(model.graph, cache_scales=str(scales)) == 2 * n_layer
    assert group_query_attention(model.graph, cache_scales=str(scales)) == 0
    verify(model)
    caches = [value for value in (*model.graph.inputs, *model.graph.outputs) if "_self_" in str(value.name)]
    assert {value.dtype for value in caches} == {ir.DataType.INT8}
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls)
    expected = forced_logits(export_decoder(checkpoint), cross, tokens, tmp_path / "before", calls=calls)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 1e-6 < error < 0.02


def test_the_pass_manager_can_compare_caches_of_8_bits(tmp_path: Path) -> None:
    dims = random_dims(n_audio_ctx=60, n_audio_state=32, n_text_state=32, n_audio_layer=1)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims, seed=4))
    encoder, mel = export_encoder(checkpoint), recorded_windows(dims)
    prompt = (50258, 50259, 50359, 50363)
    cases = decoder_cases(encoder, export_decoder(checkpoint), mel, prompt=prompt, folder=tmp_path)
    caches = {name: array for name, array in cases[-1].inputs.items() if name.startswith("past_self")}
    write_scales(tmp_path / "scales.json", caches)
    parameters = {"cache_scales": str(tmp_path / "scales.json")}
    steps = [PassStep("make_kv_cache_static"), PassStep("group_query_attention", parameters, tolerance=0.05)]
    report = run_passes(export_decoder(checkpoint), steps, equivalence=Equivalence(cases, tmp_path))
    assert report.passes[1].rewrites == 3 * dims.n_text_layer
    assert report.passes[1].difference is not None
    assert report.passes[1].difference > 1e-5, "8 bits cannot be exact: was anything quantised?"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{}", "none for the input 'past_self_k_0'"),
        ('{"past_self_k_0": [0.1, 0.2]}', "are 2 numbers: give one, or one for each of its 2 · 16 channels"),
        ('{"past_self_k_0": 0}', "must be numbers above 0; the smallest is 0.0"),
        ('{"past_self_k_0": ["1"]}', "is no JSON object with a number or a list of numbers for every cache"),
        ("[0.1]", "is no JSON object with"),
        ("{", "cannot be read: Expecting property name"),
        (None, "cannot be read: .*No such file"),
    ],
)
def test_scales_that_do_not_fit_are_named(
    checkpoint: Checkpoint, tmp_path: Path, wrong: str | None, message: str
) -> None:
    path = tmp_path / "scales.json"
    if wrong is not None:
        path.write_text(wrong)
    with pytest.raises(CompilerError, match=message):
        group_query_attention(growing(checkpoint).graph, cache_scales=str(path))
