"""Constants that a pass adds to a graph: asked for by their numbers, and added once."""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import add_initializer


class GraphConstants:
    """The constants of one pass, which all layers share."""

    def __init__(self, graph: ir.Graph, *, prefix: str) -> None:
        """Names begin with `prefix`."""
        self._graph, self._prefix = graph, prefix
        self._made: dict[tuple[str, str, tuple[int, ...], bytes], ir.Value] = {}

    @property
    def opset_imports(self) -> dict[str, int]:
        """Those of the graph."""
        return self._graph.opset_imports

    def get(self, name: str, array: np.ndarray) -> ir.Value:
        """The constant with these numbers, made when it is first asked for."""
        key = (name, str(array.dtype), array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = add_initializer(self._graph, f"{self._prefix}_{name}", array)
        return self._made[key]

    def number(self, name: str, number: float, dtype: type[np.generic] = np.float32) -> ir.Value:
        """A scalar."""
        return self.get(name, np.asarray(number, dtype))

    def axes(self, *axes: int) -> ir.Value:
        """Axes to reduce over."""
        return self.get(f"axes_{'_'.join(map(str, axes))}", np.array(axes))
