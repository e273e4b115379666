"""Round weights so that what they make of real inputs changes least: what one weight loses, the next ones make up for.

    column 0 of the weight ─► nearest integers ─► error ─► taken from columns 1, 2, … as their inputs go with input 0
    column 1, corrected    ─► nearest integers ─► …

Source: Frantar et al. 2022, "GPTQ" (arXiv:2210.17323): the correction is a row of the Cholesky factor of H⁻¹, where
H = xᵀx is how often inputs are large, and large together.
"""

import numpy as np
from jaxtyping import Float32, UInt8

from stagewhisper.compiler.quantization import BlockGrid

DAMPING = 0.01
"""Added to H's diagonal, as a share of its mean: directions that no input has shown must not take all the errors."""

TOGETHER = 128
"""Columns whose errors are collected before the columns behind them are corrected: one product instead of many."""


def round_for_inputs(
    weight: Float32[np.ndarray, "n_out n_in"], grid: BlockGrid, inputs: Float32[np.ndarray, "n_positions n_in"]
) -> UInt8[np.ndarray, "n_out n_blocks block_size"]:
    """Integers on the grid with which inputs · weightᵀ changes little; blocks are filled up with zero weights."""
    n_out, n_in = weight.shape
    zeros = grid.stored_zero_points().astype(np.float32)
    integers = np.repeat(grid.stored_zero_points(), grid.block_size, axis=1)
    factor = _inverse_factor(inputs)
    left = weight.astype(np.float32)  # a copy: what is still to be rounded, corrected
    for first in range(0, n_in, TOGETHER):
        last = min(first + TOGETHER, n_in)
        errors = np.empty((n_out, last - first), np.float32)
        for column in range(first, last):
            scale, zero = grid.scales[:, column // grid.block_size], zeros[:, column // grid.block_size]
            rounded = np.clip(np.rint(left[:, column] / scale) + zero, 0, 2**grid.bits - 1)
            integers[:, column] = rounded
            error = (left[:, column] - (rounded - zero) * scale) / factor[column, column]
            left[:, column:last] -= np.outer(error, factor[column, column:last])
            errors[:, column - first] = error
        left[:, last:] -= errors @ factor[first:last, last:]
    return integers.reshape(n_out, -1, grid.block_size)


def _inverse_factor(inputs: np.ndarray) -> Float32[np.ndarray, "n_in n_in"]:
    """The upper triangular U with UᵀU = H⁻¹."""
    together = (inputs.T @ inputs).astype(np.float64)
    together[np.diag_indices_from(together)] += DAMPING * max(float(np.diag(together).mean()), 1e-6)
    # H = L Lᵀ read from the far corner gives H⁻¹ = UᵀU with U = (J L J)⁻¹: one triangle instead of an inverse.
    lower = np.linalg.cholesky(together[::-1, ::-1])
    return np.ascontiguousarray(np.linalg.inv(lower)[::-1, ::-1], np.float32)
