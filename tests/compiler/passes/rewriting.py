"""What every test of an exact pass asks: it fires, its numbers are those of before, and a second run finds nothing."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.inferred_shapes import infer_shapes
from stagewhisper.compiler.verify import verify
from tests.compiler.foreign_graphs import op_counts, run

Pass = Callable[[ir.Graph], int]

CLOSE = 2e-5
"""Of the largest output: sums of float32 in another order, through a few layers."""


def rewritten(
    rewrite: Pass, build: Callable[[], ir.Model], inputs: Mapping[str, np.ndarray], *, close: float = 0.0
) -> tuple[int, dict[str, int]]:
    """How often `rewrite` says it rewrote, and the operators that the graph has then.

    Outputs must have the same names, types, shapes and numbers (within `close` of the largest), and the graph must be
    legal and beyond a second rewriting.
    """
    before, after = (_with_output_shapes(build()) for _ in range(2))
    count = rewrite(after.graph)
    verify(after)
    assert rewrite(after.graph) == 0
    expected, found = run(before, inputs), run(after, inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        scale = float(np.abs(array.astype(np.float64)).max(initial=1))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=close * scale)
    return count, op_counts(after.graph)


def _with_output_shapes(model: ir.Model) -> ir.Model:
    """The model as ONNX's checker wants it: small graphs of tests are written without the shapes of their outputs."""
    shapes = infer_shapes(model.graph)
    for output in model.graph.outputs:
        if output.shape is None:
            output.shape = ir.Shape(shapes.dims(output) or [])
    return model
