"""A layer's weight in int8, quantised when the graph is saved: one scale a column, or one for the matrix."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import derive_initializer
from stagewhisper.compiler.linear_layers import LinearLayer
from stagewhisper.compiler.quantization import INT8_LEVELS, column_scales, quantize_columns

REDUCED_LEVELS = 63
"""Seven bits: sums of two products of uint8 and int7 fit into the 16 bits in which x86 without VNNI adds them."""


class Int8Weight:
    """Derives the constants; scales are found the first time they are needed, and kept."""

    def __init__(self, layer: LinearLayer, *, per_channel: bool, reduce_range: bool) -> None:
        self._layer, self.per_channel = layer, per_channel
        self._n_levels = REDUCED_LEVELS if reduce_range else INT8_LEVELS
        self._found: np.ndarray | None = None

    def scale(self, graph: ir.Graph) -> ir.Value:
        """A constant [n_out], or [] for the whole matrix."""
        shape = [self._layer.n_out] if self.per_channel else []
        return derive_initializer(graph, f"{self._layer.name}.scale", [self._layer.weight], self._scales, shape=shape)

    def columns(self, graph: ir.Graph) -> ir.Value:
        """A constant [n_in, n_out], as products want their right operand."""
        return self._integers(graph, self._quantized, [self._layer.n_in, self._layer.n_out])

    def rows(self, graph: ir.Graph) -> ir.Value:
        """A constant [n_out, n_in]: of a tied embedding, a row for each token."""

        def turned(weight: np.ndarray) -> np.ndarray:
            return self._quantized(weight).T

        return self._integers(graph, turned, [self._layer.n_out, self._layer.n_in])

    def _integers(self, graph: ir.Graph, compute: Callable[[np.ndarray], np.ndarray], shape: list[int]) -> ir.Value:
        name = f"{self._layer.name}.int8"
        return derive_initializer(graph, name, [self._layer.weight], compute, shape=shape, dtype=ir.DataType.INT8)

    def _quantized(self, weight: np.ndarray) -> np.ndarray:
        return quantize_columns(self._layer.rows(weight).T, self._scales(weight), n_levels=self._n_levels)

    def _scales(self, weight: np.ndarray) -> np.ndarray:
        if self._found is None:
            columns = self._layer.rows(weight).T
            self._found = column_scales(columns, per_channel=self.per_channel, n_levels=self._n_levels)
        return self._found
