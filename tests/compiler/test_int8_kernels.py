"""What ONNX Runtime's int8 kernels do beyond their schemas: the facts that quantisation rests on."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.compiler.graphs import SmallGraph, run

MICROSOFT = "com.microsoft"
N_HEAD, HEAD_DIM, N_FRAMES = 2, 16, 50
N_STATE = N_HEAD * HEAD_DIM


def cross_attention(*, causal: int = 0, with_present: bool = True) -> ir.Model:
    """GroupQueryAttention with an int8 cache of `N_FRAMES` positions, whose last ones come as the new tokens."""
    cache = (ir.DataType.INT8, ["n_audio", N_HEAD, N_FRAMES, HEAD_DIM])
    rows = (ir.DataType.FLOAT, ["n_audio", "n_rows", N_STATE])
    last = (ir.DataType.INT32, ["n_audio"])
    given = {"q": rows, "k_last": rows, "v_last": rows, "k": cache, "v": cache, "last": last}
    build = SmallGraph(given)  # type: ignore[arg-type]
    total = build.constant("total", np.array(N_FRAMES, np.int32))
    one = build.constant("one", np.array([1], np.float32))
    node = ir.node(
        "GroupQueryAttention",
        [*build.inputs.values(), total, *[None] * 5, one, one],
        {
            "num_heads": N_HEAD,
            "kv_num_heads": N_HEAD,
            "causal": causal,
            "scale": 1.0,
            "k_quant_type": "PER_TENSOR",
            "v_quant_type": "PER_TENSOR",
            "kv_cache_bit_width": 8,
        },
        num_outputs=3 if with_present else 1,
        domain=MICROSOFT,
    )
    outputs = dict(zip(("y", "k_after", "v_after"), build.append(node), strict=False))
    for name in ("k_after", "v_after"):
        if name in outputs:
            outputs[name].type = ir.TensorType(ir.DataType.INT8)
    return build.model(**outputs)


def inputs(n_audio: int, n_rows: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(n_audio + n_rows)
    k, v = (random.integers(-127, 128, (n_audio, N_HEAD, N_FRAMES, HEAD_DIM)).astype(np.int8) for _ in "kv")
    return {
        "q": (0.01 * random.standard_normal((n_audio, n_rows, N_STATE))).astype(np.float32),
        "k_last": in_rows(k[:, :, -n_rows:]),
        "v_last": in_rows(v[:, :, -n_rows:]),
        "k": k,
        "v": v,
        "last": np.full(n_audio, N_FRAMES - 1, np.int32),
    }


def in_rows(heads: np.ndarray) -> np.ndarray:
    n_audio, _, n_rows, _ = heads.shape
    return heads.astype(np.float32).transpose(0, 2, 1, 3).reshape(n_audio, n_rows, -1)


def attended(given: dict[str, np.ndarray]) -> np.ndarray:
    """Every row sees every frame."""
    n_audio, n_rows, _ = given["q"].shape
    q = given["q"].reshape(n_audio, n_rows, N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3)
    scores = q @ given["k"].astype(np.float32).swapaxes(2, 3)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return in_rows(weights / weights.sum(axis=-1, keepdims=True) @ given["v"].astype(np.float32))


@pytest.mark.parametrize(("n_audio", "n_rows"), [(1, 1), (3, 1), (1, 5)])
def test_frames_that_come_as_a_cache_and_new_tokens_are_attended_to_as_a_whole(n_audio: int, n_rows: int) -> None:
    given = inputs(n_audio, n_rows)
    found = run(cross_attention(), given)
    np.testing.assert_allclose(found["y"], attended(given), atol=5e-4)  # of values up to 127, in float32
    np.testing.assert_array_equal(found["k_after"], given["k"])
    np.testing.assert_array_equal(found["v_after"], given["v"])


def test_a_causal_kernel_hides_the_last_frames_from_the_first_rows() -> None:
    given = inputs(1, 5)
    difference = np.abs(run(cross_attention(causal=1), given)["y"] - attended(given)).max(axis=-1)[0]
    assert difference[-1] < 5e-4
    assert difference[0] > 0.1


def test_several_rows_for_several_windows_are_refused() -> None:
    with pytest.raises(Exception, match="batch_size must be 1 when sequence_length > 1"):
        run(cross_attention(), inputs(2, 3))


def test_an_int8_cache_must_be_given_back() -> None:
    with pytest.raises(Exception, match="present_key and present_value must be provided"):
        run(cross_attention(with_present=False), inputs(1, 1))


def test_a_turned_constant_is_as_good_as_a_constant_to_dynamic_quantisation() -> None:
    """Otherwise a tied embedding would have to be stored twice."""
    random = np.random.default_rng(0)
    weight, x = random.integers(-127, 128, (64, 300)).astype(np.int8), random.standard_normal((3, 64))
    found = []
    for turned in (True, False):
        build = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 64])})
        stored = build.constant("w", np.ascontiguousarray(weight.T) if turned else weight)
        scale = build.constant("scale", np.array(0.01, np.float32))
        columns = build.op("Transpose", stored, perm=[1, 0]) if turned else stored
        y = build.op("DynamicQuantizeMatMul", build.inputs["x"], columns, scale, domain=MICROSOFT)
        found.append(run(build.model(y=y), {"x": x.astype(np.float32)})["y"])
    np.testing.assert_array_equal(found[0], found[1])


def test_sums_with_weights_of_seven_bits_are_exact_on_every_processor() -> None:
    """The largest there are: 255 · 63 in pairs. With 127, x86 without VNNI would saturate: hence `reduce_range`."""
    x = np.ones((1, 64), np.float32)
    x[0, 0] = 0  # the range of x begins here, so that 1 becomes 255
    build = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 64])})
    weight = build.constant("w", np.full((64, 8), 63, np.int8))
    scale = build.constant("scale", np.array(1 / 63, np.float32))
    model = build.model(y=build.op("DynamicQuantizeMatMul", build.inputs["x"], weight, scale, domain=MICROSOFT))
    np.testing.assert_allclose(run(model, {"x": x})["y"], 63, rtol=1e-5)
