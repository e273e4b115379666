"""Few bits: errors stay within their bounds, and what is packed is what ONNX Runtime's kernels read."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.quantization import (
    Bits,
    BlockGrid,
    block_grid,
    column_scales,
    dequantize_blocks,
    pack,
    quantize_blocks,
    quantize_columns,
)
from tests.compiler.graphs import SmallGraph, relative_error, run


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def heavy_tailed(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_t(4, shape).astype(np.float32)


def restored(weight: np.ndarray, grid: BlockGrid) -> np.ndarray:
    return dequantize_blocks(quantize_blocks(weight, grid), grid, n_in=weight.shape[1])


@pytest.mark.parametrize("n_levels", [127, 63])
@pytest.mark.parametrize("per_channel", [True, False])
def test_columns_are_off_by_half_a_step_at_most(per_channel: bool, n_levels: int) -> None:
    weight = heavy_tailed(70, 33)
    scales = column_scales(weight, per_channel=per_channel, n_levels=n_levels)
    integers = quantize_columns(weight, scales, n_levels=n_levels)
    assert scales.shape == ((33,) if per_channel else ())
    assert np.abs(integers).max() == n_levels
    assert np.all(np.abs(weight - integers * scales) <= scales * 0.5001)


def test_columns_longer_than_a_chunk_are_quantised_alike() -> None:
    weight = normal(3, 40_000)
    whole = quantize_columns(weight, column_scales(weight, per_channel=True))
    half = weight[:, 20_000:]
    np.testing.assert_array_equal(whole[:, 20_000:], quantize_columns(half, column_scales(half, per_channel=True)))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "step"), [(8, 2 / 255), (4, 2 / 15)])
def test_errors_of_blocks_stay_near_half_a_step(bits: Bits, step: float, symmetric: bool) -> None:
    """Uniform weights fill the grid evenly: their error is that of rounding, a step over √12."""
    weight = np.random.default_rng(3).uniform(-1, 1, (50, 256)).astype(np.float32)
    grid = block_grid(weight, bits=bits, block_size=64, symmetric=symmetric)
    error = restored(weight, grid) - weight
    assert np.sqrt(np.mean(error**2)) < 1.02 * step / 12**0.5


@pytest.mark.parametrize("block_size", [32, 64, 128])
@pytest.mark.parametrize("draw", [normal, heavy_tailed])
def test_the_search_beats_a_grid_that_ends_at_the_largest_weight(draw: object, block_size: int) -> None:
    weight = draw(200, 384)  # type: ignore[operator]
    largest = np.abs(weight.reshape(200, -1, block_size)).max(axis=-1)
    plain = BlockGrid(4, block_size, (largest / 7).astype(np.float32), None)
    searched = block_grid(weight, bits=4, block_size=block_size)
    shifted = block_grid(weight, bits=4, block_size=block_size, symmetric=False)
    errors = [relative_error(restored(weight, grid), weight) for grid in (plain, searched, shifted)]
    assert errors[1] < 0.87 * errors[0]
    assert errors[2] < errors[1]


def test_no_candidate_of_a_finer_search_is_much_better(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = normal(100, 256)
    found = relative_error(restored(weight, block_grid(weight, bits=4, block_size=64)), weight)
    finer = {4: np.linspace(0.6, 2, 100, dtype=np.float32)}
    monkeypatch.setattr("stagewhisper.compiler.quantization.STRETCHES", finer)
    best = relative_error(restored(weight, block_grid(weight, bits=4, block_size=64)), weight)
    assert best <= found < 1.01 * best


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_that_are_all_zero_or_all_alike_come_back(symmetric: bool) -> None:
    weight = np.zeros((3, 64), np.float32)
    weight[1], weight[2] = 0.25, -3
    grid = block_grid(weight, bits=4, block_size=32, symmetric=symmetric)
    assert np.isfinite(grid.scales).all()
    np.testing.assert_allclose(restored(weight, grid), weight, rtol=1e-6)


def test_rows_are_filled_up_to_whole_blocks() -> None:
    weight = normal(5, 40)
    grid = block_grid(weight, bits=8, block_size=32)
    assert quantize_blocks(weight, grid).shape == (5, 2, 32)
    np.testing.assert_allclose(restored(weight, grid), weight, atol=np.abs(weight).max() / 127)


def test_two_numbers_of_four_bits_share_a_byte() -> None:
    integers = np.array([[1, 2, 15, 0, 7]], np.uint8)
    np.testing.assert_array_equal(pack(integers, 4), [[0x21, 0x0F, 0x07]])
    np.testing.assert_array_equal(pack(integers, 8), integers)


@pytest.mark.parametrize("n_in", [256, 100])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block_size", [32, 128])
@pytest.mark.parametrize("bits", [8, 4])
def test_the_product_kernel_reads_what_we_pack(bits: Bits, block_size: int, symmetric: bool, n_in: int) -> None:
    """With float32 activations the kernel must give x times the restored weight, and nothing else."""
    weight, x = heavy_tailed(48, n_in), normal(3, n_in)
    grid = block_grid(weight, bits=bits, block_size=block_size, symmetric=symmetric)
    build = SmallGraph({"x": (ir.DataType.FLOAT, ["n", n_in])})
    inputs = [
        build.inputs["x"],
        build.constant("integers", pack(quantize_blocks(weight, grid), bits)),
        build.constant("scales", grid.scales),
    ]
    if not symmetric:
        inputs.append(build.constant("zeros", pack(grid.stored_zero_points(), bits)))
    shape = {"K": n_in, "N": 48, "bits": bits, "block_size": block_size, "accuracy_level": 0}
    y = build.op("MatMulNBits", *inputs, domain="com.microsoft", **shape)
    found = run(build.model(y=y), {"x": x})["y"]
    np.testing.assert_allclose(found, x @ restored(weight, grid).T, atol=2e-4)  # float32 sums of up to 256 products


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
def test_the_gather_kernel_reads_what_we_pack(bits: Bits, symmetric: bool) -> None:
    weight, tokens = heavy_tailed(48, 96), np.array([[0, 47, 3]])
    grid = block_grid(weight, bits=bits, block_size=32, symmetric=symmetric)
    build = SmallGraph({"tokens": (ir.DataType.INT64, ["n", "m"])})
    packed = pack(quantize_blocks(weight, grid), bits).reshape(48, -1)
    inputs = [build.constant("integers", packed), build.inputs["tokens"], build.constant("scales", grid.scales)]
    if not symmetric:
        inputs.append(build.constant("zeros", pack(grid.stored_zero_points(), bits)))
    kind = {"bits": bits, "block_size": 32, "gather_axis": 0, "quantize_axis": 1}
    y = build.op("GatherBlockQuantized", *inputs, domain="com.microsoft", **kind)
    np.testing.assert_array_equal(run(build.model(y=y), {"tokens": tokens})["y"], restored(weight, grid)[tokens])
