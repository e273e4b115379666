"""Rounding for real inputs: outputs change less than with the nearest integers, and never by leaving the grid."""

import numpy as np
import pytest

from stagewhisper.compiler.calibrated_rounding import TOGETHER, round_for_inputs
from stagewhisper.compiler.quantization import BlockGrid, block_grid, dequantize_blocks, quantize_blocks
from tests.compiler.graphs import relative_error


def correlated(n_positions: int, n_in: int, *, n_causes: int, seed: int = 0) -> np.ndarray:
    """Inputs that a few causes make, as activations are."""
    random = np.random.default_rng(seed)
    causes = random.standard_normal((n_causes, n_in))
    noise = 0.1 * random.standard_normal((n_positions, n_in))
    return np.asarray(random.standard_normal((n_positions, n_causes)) @ causes + noise, np.float32)


def normal_weight(n_out: int, n_in: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n_out, n_in)).astype(np.float32)


def restored(integers: np.ndarray, grid: BlockGrid, n_in: int) -> np.ndarray:
    return dequantize_blocks(integers, grid, n_in=n_in)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("n_in", "block_size"), [(96, 32), (100, 32), (TOGETHER + 72, 64)])
def test_outputs_are_off_by_less_on_inputs_that_were_not_seen(n_in: int, block_size: int, symmetric: bool) -> None:
    weight = normal_weight(40, n_in)
    everything = correlated(600, n_in, n_causes=n_in // 4)
    seen, unseen = everything[:400], everything[400:]
    grid = block_grid(weight, bits=4, block_size=block_size, symmetric=symmetric)
    nearest = restored(quantize_blocks(weight, grid), grid, n_in)
    calibrated = restored(round_for_inputs(weight, grid, seen), grid, n_in)
    expected = unseen @ weight.T
    assert relative_error(unseen @ calibrated.T, expected) < 0.7 * relative_error(unseen @ nearest.T, expected)
    assert np.linalg.norm(calibrated - weight) >= np.linalg.norm(nearest - weight), "single weights are off by more"


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest() -> None:
    weight = normal_weight(20, 64)
    grid = block_grid(weight, bits=4, block_size=32)
    inputs = np.eye(64, dtype=np.float32)
    np.testing.assert_array_equal(round_for_inputs(weight, grid, inputs), quantize_blocks(weight, grid))


def test_fewer_inputs_than_columns_and_inputs_of_nothing_are_taken() -> None:
    weight = normal_weight(8, 64)
    grid = block_grid(weight, bits=4, block_size=32, symmetric=False)
    for inputs in (correlated(5, 64, n_causes=3), np.zeros((5, 64), np.float32)):
        integers = round_for_inputs(weight, grid, inputs)
        assert integers.shape == (8, 2, 32)
        assert integers.max() <= 15
    np.testing.assert_array_equal(integers, quantize_blocks(weight, grid))


def test_rows_that_are_no_whole_blocks_are_filled_up_with_zeros() -> None:
    weight = normal_weight(8, 40)
    grid = block_grid(weight, bits=4, block_size=32, symmetric=False)
    integers = round_for_inputs(weight, grid, correlated(50, 40, n_causes=9))
    assert not restored(integers, grid, n_in=64)[:, 40:].any()
