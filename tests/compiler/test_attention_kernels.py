"""What `docs/kernels.md` says of ONNX Runtime's attention kernels, each line asked of the kernels themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

N_HEAD, HEAD_DIM, LENGTH = 2, 16, 32
N_STATE = N_HEAD * HEAD_DIM
GQA, MHA, DMMHA = "GroupQueryAttention", "MultiHeadAttention", "DecoderMaskedMultiHeadAttention"
CLOSE = {np.float32: 2e-6, np.float16: 3e-3}
"""The last digits of numbers below 4."""

Array = np.ndarray


class Call:
    """Random rows and caches for one call of an operator, and what should come out."""

    def __init__(
        self, *, n_seq: int, n_new: int, n_past: int, length: int = LENGTH, dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        generator = np.random.default_rng(n_past)
        self.n_seq, self.n_new, self.n_past, self.dtype = n_seq, n_new, n_past, dtype
        shapes = [(n_seq, n_new, N_STATE)] * 3 + [(n_seq, N_HEAD, length, HEAD_DIM)] * 2
        self.q, self.k, self.v, self.past_k, self.past_v = (
            generator.standard_normal(shape).astype(dtype) for shape in shapes
        )

    @property
    def present(self) -> tuple[Array, Array]:
        pairs = ((self.past_k, self.k), (self.past_v, self.v))
        k, v = (np.concatenate([past[:, :, : self.n_past], heads(new)], axis=2) for past, new in pairs)
        return k, v

    def expected(self) -> Array:
        return attended(self.q, *self.present, n_past=self.n_past)

    def given(self, op_type: str, *, buffer: bool = True) -> dict[str, Array]:
        """Inputs by their names in the operator's schema."""
        rows = {"query": self.q, "key": self.k, "value": self.v, "past_key": self.past_k, "past_value": self.past_v}
        total = self.n_past + self.n_new
        if op_type == GQA:
            last = np.full(self.n_seq, total - 1, np.int32)
            return rows | {"seqlens_k": last, "total_sequence_length": np.asarray(total, np.int32)}
        return rows | ({"past_sequence_length": np.array([self.n_past], np.int32)} if buffer else {})


PLACES = {
    GQA: [
        *("query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length"),
        *("", "", "", "", "", "k_scale", "v_scale"),
    ],
    MHA: ["query", "key", "value", "bias", "", "", "past_key", "past_value", "past_sequence_length"],
    DMMHA: ["query", "key", "value", "", "", "past_key", "past_value", "past_sequence_length", "", "", "bias"],
}
ATTRIBUTES: dict[str, dict[str, int]] = {
    GQA: {"kv_num_heads": N_HEAD},
    MHA: {"unidirectional": 1},
    DMMHA: {"past_present_share_buffer": 1},
}


def heads(rows: Array) -> Array:
    return rows.reshape(*rows.shape[:2], N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3)


def attended(q: Array, k: Array, v: Array, *, n_past: int, causal: bool = True) -> Array:
    """Attention as the paper writes it, in float32."""
    q, k, v = (array.astype(np.float32) for array in (heads(q), k, v))
    scores = q @ k.swapaxes(2, 3) * HEAD_DIM**-0.5
    if causal:
        scores = np.where(np.tri(scores.shape[2], scores.shape[3], n_past, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out: Array = weights / weights.sum(axis=-1, keepdims=True) @ v
    return out.transpose(0, 2, 1, 3).reshape(len(q), -1, N_STATE)


def run(
    op_type: str, inputs: dict[str, Array], *, bound: bool = False, n_outputs: int = 3, **attributes: int | str
) -> list[Array]:
    """The operator's outputs; `bound` gives past and present the same memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    content = ir.to_proto(_model(op_type, inputs, n_outputs, attributes)).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array.copy()) for name, array in inputs.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_output("rows", "cpu")
    for name in ("key", "value")[: n_outputs - 1]:
        if bound:
            binding.bind_ortvalue_output(f"present_{name}", values[f"past_{name}"])
        else:
            binding.bind_output(f"present_{name}", "cpu")
    session.run_with_iobinding(binding)
    outputs: list[Array] = binding.copy_outputs_to_cpu()
    return outputs


def _model(op_type: str, inputs: dict[str, Array], n_outputs: int, attributes: dict[str, Any]) -> ir.Model:
    given = {name: ir.val(name, ir.DataType.from_numpy(a.dtype), a.shape) for name, a in inputs.items()}
    places = [given.get(name) for name in PLACES[op_type]]
    while places[-1] is None:
        places.pop()
    settings = {"num_heads": N_HEAD, **ATTRIBUTES[op_type], **attributes}
    node = ir.node(op_type, places, settings, domain="com.microsoft", num_outputs=n_outputs)
    cache = next(inputs[name].dtype for name in ("past_key", "key", "query") if name in inputs)
    for name, output in zip(("rows", "present_key", "present_value"), node.outputs, strict=False):
        dtype = inputs["query"].dtype if name == "rows" else cache
        output.name, output.type = name, ir.TensorType(ir.DataType.from_numpy(dtype))
    imports = {"": 20, "com.microsoft": 1}
    graph = ir.Graph(list(given.values()), node.outputs, nodes=[node], opset_imports=imports, name=op_type)
    return ir.Model(graph, ir_version=10)


def assert_right(call: Call, outputs: list[Array]) -> None:
    rows, *present = outputs
    close = CLOSE[call.dtype]
    np.testing.assert_allclose(rows, call.expected(), atol=close)
    for found, expected in zip(present, call.present, strict=True):
        np.testing.assert_array_equal(found[:, :, : expected.shape[2]], expected)


Lengths = dict[str, Any]
PROMPT: Lengths = {"n_seq": 3, "n_new": 5, "n_past": 0}
STEP: Lengths = {"n_seq": 3, "n_new": 1, "n_past": 7}
LAST: Lengths = {"n_seq": 3, "n_new": 1, "n_past": LENGTH - 1}
SEVERAL: Lengths = {"n_seq": 3, "n_new": 4, "n_past": 7}


@pytest.mark.parametrize("lengths", [PROMPT, STEP, LAST, SEVERAL | {"n_seq": 1}])
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_group_query_attention_on_buffers(lengths: Lengths, bound: bool, dtype: type) -> None:
    call = Call(**lengths, dtype=dtype)
    outputs = run(GQA, call.given(GQA), bound=bound)
    assert_right(call, outputs)
    behind = outputs[1][:, :, call.n_past + call.n_new :]
    np.testing.assert_array_equal(behind, call.past_k[:, :, call.n_past + call.n_new :] if bound else 0 * behind)


@pytest.mark.parametrize("lengths", [PROMPT, STEP, SEVERAL | {"n_seq": 1}])
def test_group_query_attention_on_growing_caches(lengths: Lengths) -> None:
    call = Call(**lengths, length=lengths["n_past"])
    outputs = run(GQA, call.given(GQA))
    assert outputs[1].shape[2] == call.n_past + call.n_new
    assert_right(call, outputs)


def test_group_query_attention_takes_several_tokens_on_a_filled_cache_for_one_sequence_only() -> None:
    with pytest.raises(RuntimeError, match="batch_size must be 1 when sequence_length > 1 and past context is given"):
        run(GQA, Call(**SEVERAL).given(GQA))


def test_group_query_attention_refuses_to_write_past_a_bound_buffers_end() -> None:
    with pytest.raises(RuntimeError):
        run(GQA, Call(n_seq=1, n_new=1, n_past=LENGTH).given(GQA), bound=True)


def test_group_query_attention_takes_sequences_of_several_lengths_in_a_step() -> None:
    call = Call(**STEP)
    given = call.given(GQA) | {"seqlens_k": np.array([3, 7, 5], np.int32)}
    rows = run(GQA, given)[0]
    for index, n_past in enumerate([3, 7, 5]):
        call.n_past = n_past
        np.testing.assert_allclose(rows[index], call.expected()[index], atol=CLOSE[np.float32])


@pytest.mark.parametrize("lengths", [PROMPT, STEP])
def test_group_query_attention_takes_one_packed_input(lengths: Lengths) -> None:
    call = Call(**lengths)
    given = call.given(GQA)
    given["query"] = np.concatenate([given["query"], given.pop("key"), given.pop("value")], axis=-1)
    assert_right(call, run(GQA, given))


@pytest.mark.parametrize("lengths", [PROMPT, STEP, SEVERAL | {"n_seq": 1}])
@pytest.mark.parametrize("per_channel", [False, True])
def test_group_query_attention_keeps_caches_of_8_bits(lengths: Lengths, per_channel: bool) -> None:
    call = Call(**lengths)
    given, kind = call.given(GQA), "PER_CHANNEL" if per_channel else "PER_TENSOR"
    present = []
    for name, past, new in (("k", call.past_k, call.k), ("v", call.past_v, call.v)):
        whole = np.concatenate([past, heads(new)], axis=2)
        scale = np.abs(whole).max(axis=(0, 2), keepdims=True) * 0.9 / 127  # clips the largest
        scale = scale if per_channel else scale.max(keepdims=True).reshape(1)
        place = "past_key" if name == "k" else "past_value"
        given |= {f"{name}_scale": scale, place: _rounded(past, scale)}
        present.append(
            np.concatenate([_rounded(past, scale)[:, :, : call.n_past], _rounded(heads(new), scale)], axis=2)
        )
    settings: dict[str, Any] = {"k_quant_type": kind, "v_quant_type": kind, "kv_cache_bit_width": 8}
    rows, *found = run(GQA, given, bound=True, **settings)
    for array, expected in zip(found, present, strict=True):
        np.testing.assert_array_equal(array[:, :, : expected.shape[2]], expected)
    k, v = (array * given[f"{name}_scale"] for name, array in zip("kv", present, strict=True))
    np.testing.assert_allclose(rows, attended(call.q, k, v, n_past=call.n_past), atol=CLOSE[np.float32])


def _rounded(array: Array, scale: Array) -> Array:
    levels: Array = np.clip(np.round(array / scale), -128, 127).astype(np.int8)
    return levels


def test_group_query_attention_keeps_caches_of_4_bits_two_in_a_byte() -> None:
    call = Call(**STEP)
    given, levels = call.given(GQA), []
    for name, past, new in (("k", call.past_k, call.k), ("v", call.past_v, call.v)):
        whole = np.concatenate([past[:, :, : call.n_past], heads(new)], axis=2)
        scale = np.abs(whole).max(axis=(0, 2), keepdims=True) / 7
        levels.append(np.clip(np.round(whole / scale), -7, 7) * scale)
        nibbles = (np.clip(np.round(past / scale), -7, 7) + 8).astype(np.uint8)
        place = "past_key" if name == "k" else "past_value"
        given |= {f"{name}_scale": scale, place: nibbles[..., ::2] | nibbles[..., 1::2] << 4}
    settings: dict[str, Any] = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 4}
    rows = run(GQA, given, bound=True, **settings)[0]
    np.testing.assert_allclose(rows, attended(call.q, *levels, n_past=call.n_past), atol=CLOSE[np.float32])


@pytest.mark.parametrize("causal", [False, True])
def test_group_query_attention_without_a_past(causal: bool) -> None:
    call = Call(**PROMPT)
    given = {name: array for name, array in call.given(GQA).items() if "past" not in name}
    rows, *present = run(GQA, given, causal=int(causal))
    expected = attended(call.q, heads(call.k), heads(call.v), n_past=0, causal=causal)
    np.testing.assert_allclose(rows, expected, atol=CLOSE[np.float32])
    for found, new in zip(present, (call.k, call.v), strict=True):
        np.testing.assert_array_equal(found, heads(new))


def test_group_query_attention_wants_heads_of_a_multiple_of_8_channels() -> None:
    call = Call(**STEP)
    given = {name: array[..., : array.shape[-1] * 3 // 4] for name, array in call.given(GQA).items() if array.ndim > 2}
    with pytest.raises(RuntimeError, match="head_size must be a multiple of 8"):
        run(GQA, call.given(GQA) | given)


@pytest.mark.parametrize("lengths", [PROMPT, STEP, LAST, SEVERAL])
@pytest.mark.parametrize("bound", [False, True])
def test_multi_head_attention_on_buffers_takes_several_tokens_for_several_sequences(
    lengths: Lengths, bound: bool
) -> None:
    call = Call(**lengths)
    assert_right(call, run(MHA, call.given(MHA), bound=bound))


@pytest.mark.parametrize("lengths", [PROMPT, STEP, SEVERAL])
def test_multi_head_attention_on_growing_caches(lengths: Lengths) -> None:
    call = Call(**lengths, length=lengths["n_past"])
    assert_right(call, run(MHA, call.given(MHA, buffer=False)))


def test_decoder_masked_attention_takes_keys_in_heads() -> None:
    keys = Call(n_seq=3, n_new=40, n_past=0)
    q, k, v = keys.q[:, :1], heads(keys.k), heads(keys.v)
    given = {"query": q, "key": k, "value": v}
    rows = run(DMMHA, given, n_outputs=1, past_present_share_buffer=0)[0]
    np.testing.assert_allclose(rows, attended(q, k, v, n_past=0, causal=False), atol=CLOSE[np.float32])


def test_multi_head_attention_wants_keys_for_every_sequence() -> None:
    keys = Call(n_seq=2, n_new=40, n_past=0)
    q = np.repeat(keys.q[:, :1], 2, axis=0)
    with pytest.raises(RuntimeError, match="shall have same dim 0"):
        run(MHA, {"query": q, "key": heads(keys.k), "value": heads(keys.v)}, n_outputs=1, unidirectional=0)


@pytest.mark.parametrize("n_query", [1, 4])
@pytest.mark.parametrize("in_heads", [False, True])
def test_multi_head_attention_takes_keys_in_rows_or_in_heads(n_query: int, in_heads: bool) -> None:
    keys = Call(n_seq=3, n_new=40, n_past=0)
    q = keys.q[:, :n_query]
    k, v = heads(keys.k), heads(keys.v)
    given = {"query": q, "key": k if in_heads else keys.k, "value": v if in_heads else keys.v}
    rows = run(MHA, given, n_outputs=1, unidirectional=0)[0]
    np.testing.assert_allclose(rows, attended(q, k, v, n_past=0, causal=False), atol=CLOSE[np.float32])


def test_multi_head_attention_has_no_packed_form_on_the_cpu() -> None:
    packed = np.zeros((2, 6, N_HEAD, 3, HEAD_DIM), np.float32)
    with pytest.raises(RuntimeError, match="not implemented for CPU"):
        run(MHA, {"query": packed}, n_outputs=1)


@pytest.mark.parametrize("op_type", [MHA, DMMHA])
def test_the_others_add_biases_themselves(op_type: str) -> None:
    call = Call(**STEP)
    bias = np.random.default_rng(1).standard_normal(3 * N_STATE).astype(np.float32)
    outputs = run(op_type, call.given(op_type) | {"bias": bias})
    call.q, call.k, call.v = (
        rows + part for rows, part in zip((call.q, call.k, call.v), np.split(bias, 3), strict=True)
    )
    np.testing.assert_allclose(outputs[0], call.expected(), atol=CLOSE[np.float32])


@pytest.mark.parametrize("op_type", [MHA, DMMHA])
def test_only_group_query_attention_knows_float16(op_type: str, tmp_path: Path) -> None:
    for one, expected in ((GQA, set()), (op_type, {"Cast"})):
        call, options = Call(**STEP, dtype=np.float16), onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{one}.onnx")
        options.log_severity_level = 4
        content = ir.to_proto(_model(one, call.given(one), 3, {})).SerializeToString()
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        run_by_onnx_runtime = {node.op_type for node in ir.load(tmp_path / f"{one}.onnx").graph}
        assert run_by_onnx_runtime == {one, *expected}


@pytest.mark.parametrize("lengths", [STEP, LAST, STEP | {"n_past": 0}])
@pytest.mark.parametrize("bound", [False, True])
def test_decoder_masked_attention_takes_steps_on_buffers(lengths: Lengths, bound: bool) -> None:
    call = Call(**lengths)
    assert_right(call, run(DMMHA, call.given(DMMHA), bound=bound))


def test_decoder_masked_attention_refuses_several_tokens_and_growing_caches() -> None:
    with pytest.raises(RuntimeError, match="Input sequence length should be 1"):
        run(DMMHA, Call(**SEVERAL).given(DMMHA))
    call = Call(**STEP, length=7)
    with pytest.raises(RuntimeError, match="past_present_share_buffer_ was false"):
        run(DMMHA, call.given(DMMHA, buffer=False), past_present_share_buffer=0)
