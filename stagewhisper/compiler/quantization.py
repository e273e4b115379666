"""Numbers in few bits: pure arithmetic, no graph. What a weight becomes is scale · (integer − zero point).

    quantize_columns   int8, one scale for a column or for the whole matrix      DynamicQuantizeMatMul
    quantize_blocks    4 or 8 bits, one scale for each block of a row            MatMulNBits, GatherBlockQuantized

Scales and integers come from separate functions, so that a large matrix is never held in both forms at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int8, UInt8

Bits = Literal[4, 8]

CHUNK = 1 << 16
"""Numbers worked on at a time: they and the temporaries fit into a core's cache."""

INT8_LEVELS = 127
"""The largest integer in use; −128 stays free, so that the grid is symmetric."""

UINT8_LEVELS = 255
"""The largest integer of what is never below 0."""

TINY_SCALE = np.float32(1e-30)
"""The scale of what is zero throughout."""

TINY = np.float32(np.finfo(np.float32).tiny)

STRETCHES = {4: np.linspace(0.85, 1.3, 8, dtype=np.float32), 8: np.ones(1, np.float32)}
"""Candidates for how far the largest weight of a block may lie beyond the grid's end (above 1: it is clipped).

Measured on normal and on heavy-tailed weights in blocks of 32, 64 and 128; with 8 bits clipping never pays.
"""

# --- one scale a column ---------------------------------------------------------------------------------------------


def column_scales(
    weight: Float32[np.ndarray, "n_in n_out"], *, per_channel: bool, n_levels: int = INT8_LEVELS
) -> Float32[np.ndarray, "..."]:
    """Scales [n_out], or [] for the whole matrix, with which the largest weight becomes ±`n_levels`."""
    axis = 0 if per_channel else None
    largest = np.asarray(np.maximum(weight.max(axis=axis), -weight.min(axis=axis)))
    return _nonzero(largest / np.float32(n_levels))


def quantize_columns(
    weight: Float32[np.ndarray, "n_in n_out"], scales: Float32[np.ndarray, "..."], *, n_levels: int = INT8_LEVELS
) -> Int8[np.ndarray, "n_in n_out"]:
    """The nearest integers to weight / scales, from −`n_levels` to `n_levels`."""
    result = np.empty(weight.shape, np.int8)
    for rows in _chunks(*weight.shape):
        result[rows] = np.clip(np.rint(weight[rows] / scales), -n_levels, n_levels)
    return result


def channel_scales(x: Float32[np.ndarray, "..."], *, axis: int) -> Float32[np.ndarray, "..."]:
    """Scales with which the largest number along `axis` becomes ±127; the axis stays, with length 1."""
    largest = np.abs(x).max(axis=axis, keepdims=True)
    return np.asarray(np.maximum(largest / np.float32(INT8_LEVELS), TINY_SCALE), np.float32)


# --- one scale a block of a row -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockGrid:
    """How the blocks of each row are read back: weight = scale · (integer − zero point)."""

    bits: Bits
    block_size: int
    scales: Float32[np.ndarray, "n_out n_blocks"]
    zero_points: UInt8[np.ndarray, "n_out n_blocks"] | None
    """None stands for the middle, 2^(bits−1), in every block."""

    def stored_zero_points(self) -> UInt8[np.ndarray, "n_out n_blocks"]:
        """The zero points, those that are all in the middle included."""
        if self.zero_points is not None:
            return self.zero_points
        return np.full(self.scales.shape, 2 ** (self.bits - 1), np.uint8)


def block_grid(
    weight: Float32[np.ndarray, "n_out n_in"], *, bits: Bits, block_size: int, symmetric: bool = True
) -> BlockGrid:
    """The scales (and zero points) with the least squared error among some candidates, each fitted by least squares.

    A symmetric scale may be negative: the grid reaches one further below zero than above, and the largest weight of
    a block may want that end.
    """
    n_out, n_in = weight.shape
    n_blocks = -(-n_in // block_size)
    scales = np.empty((n_out, n_blocks), np.float32)
    zeros = None if symmetric else np.empty((n_out, n_blocks), np.uint8)
    for rows in _chunks(n_out, n_in):
        blocks = _in_blocks(weight[rows], block_size)
        if zeros is None:
            scales[rows] = _best_symmetric(blocks, bits)
        else:
            scales[rows], zeros[rows] = _best_with_zero_point(blocks, bits)
    return BlockGrid(bits, block_size, scales, zeros)


def quantize_blocks(
    weight: Float32[np.ndarray, "n_out n_in"], grid: BlockGrid
) -> UInt8[np.ndarray, "n_out n_blocks block_size"]:
    """The nearest integers on the grid, 0 to 2^bits − 1; rows are filled up with zero weights to whole blocks."""
    n_out, n_in = weight.shape
    result = np.empty((*grid.scales.shape, grid.block_size), np.uint8)
    zeros = grid.stored_zero_points().astype(np.float32)
    for rows in _chunks(n_out, n_in):
        blocks = _in_blocks(weight[rows], grid.block_size)
        integers = np.rint(blocks / grid.scales[rows, :, None]) + zeros[rows, :, None]
        result[rows] = np.clip(integers, 0, 2**grid.bits - 1)
    return result


def dequantize_blocks(
    integers: UInt8[np.ndarray, "n_out n_blocks block_size"], grid: BlockGrid, *, n_in: int
) -> Float32[np.ndarray, "n_out n_in"]:
    """The weights that the integers stand for."""
    blocks: np.ndarray = (integers - grid.stored_zero_points()[:, :, None].astype(np.float32)) * grid.scales[:, :, None]
    return blocks.reshape(len(integers), -1)[:, :n_in]


def pack(integers: UInt8[np.ndarray, "... n"], bits: Bits) -> UInt8[np.ndarray, "... n_bytes"]:
    """Integers of 4 bits two to a byte, the first of them in the low half; those of 8 bits as they are."""
    if bits == 8:
        return integers
    if integers.shape[-1] % 2:
        integers = np.concatenate([integers, np.zeros_like(integers[..., :1])], axis=-1)
    return np.asarray(integers[..., 0::2] | integers[..., 1::2] << 4, np.uint8)


def _best_symmetric(blocks: np.ndarray, bits: Bits) -> np.ndarray:
    """Scales [n_out, n_blocks] for blocks [n_out, n_blocks, block_size]."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = np.abs(blocks).argmax(axis=-1)[..., None]
    extreme = _nonzero(np.take_along_axis(blocks, largest, axis=-1)[..., 0])
    lows = np.full(extreme.shape, low, np.float32)
    best = _Best(blocks, np.float32(high - low))
    for end in (low, high):
        for stretch in STRETCHES[bits]:
            best.try_scales(extreme / (np.float32(end) * stretch), lows)
    return best.scales


def _best_with_zero_point(blocks: np.ndarray, bits: Bits) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points [n_out, n_blocks]; zero is always on the grid."""
    top = np.float32(2**bits - 1)
    low, high = np.minimum(blocks.min(axis=-1), 0), np.maximum(blocks.max(axis=-1), 0)
    best = _Best(blocks, top)
    for stretch in STRETCHES[bits]:
        scales = _nonzero((high - low) / (top * stretch))
        for rounded in (np.floor, np.ceil):
            best.try_scales(scales, -np.clip(rounded(-low / scales), 0, top))
    return best.scales, (-best.lows).astype(np.uint8)


class _Best:
    """The best scale so far for each block, and the lowest integer that goes with it.

    The integers q that a candidate leads to have a scale that fits them best, s = Σwq / Σq². With it the squared error
    is Σw² − (Σwq)² / Σq²: what is subtracted is the gain by which candidates are compared.
    """

    def __init__(self, blocks: np.ndarray, span: np.float32) -> None:
        """`blocks` [n_out, n_blocks, block_size]; `span` is the highest integer minus the lowest."""
        self._blocks, self._span = blocks, span
        self._integers = np.empty_like(blocks)
        self._gain = np.full(blocks.shape[:2], -1, np.float32)
        self.scales = np.ones(blocks.shape[:2], np.float32)
        self.lows = np.zeros(blocks.shape[:2], np.float32)

    def try_scales(self, scales: np.ndarray, lows: np.ndarray) -> None:
        q = self._integers
        np.multiply(self._blocks, (1 / scales)[..., None], out=q)
        np.rint(q, out=q)
        np.clip(q, lows[..., None], (lows + self._span)[..., None], out=q)
        product, square = np.einsum("rbi,rbi->rb", self._blocks, q), np.einsum("rbi,rbi->rb", q, q)
        fitted = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
        better = product * fitted > self._gain
        np.copyto(self._gain, product * fitted, where=better)
        np.copyto(self.scales, _nonzero(fitted), where=better)
        np.copyto(self.lows, lows, where=better)


def _in_blocks(weight: np.ndarray, block_size: int) -> np.ndarray:
    """[n_out, n_in] → [n_out, n_blocks, block_size], filled up with zeros."""
    n_out, n_in = weight.shape
    missing = -n_in % block_size
    if missing:
        weight = np.pad(weight, ((0, 0), (0, missing)))
    return np.ascontiguousarray(weight, np.float32).reshape(n_out, -1, block_size)


def _chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, n_columns))
    for first in range(0, n_rows, step):
        yield slice(first, first + step)


def _nonzero(scales: np.ndarray | np.float32) -> np.ndarray:
    """Scales by which one can divide: those of all-zero weights become 1."""
    return np.asarray(np.where(np.abs(scales) < TINY, np.float32(1), scales), np.float32)
