"""Patterns by which a recipe names layers, and those that name none: a mistyped one would keep back nothing."""

from collections.abc import Collection

import onnx_ir as ir

from stagewhisper.compiler.linear_layers import linear_layers
from stagewhisper.compiler.steps import PassStep

PASSES_ON_LAYERS = ("quantize_dynamic", "quantize_static", "quantize_blockwise")
_PARAMETERS = ("only", "keep")


def patterns_of(step: PassStep) -> tuple[str, ...]:
    """The glob patterns on names of layers that the step is given."""
    if step.name not in PASSES_ON_LAYERS:
        return ()
    return tuple(str(pattern) for name in _PARAMETERS for pattern in _listed(step.parameters.get(name)))


def unmatched(graph: ir.Graph, patterns: Collection[str]) -> tuple[str, ...]:
    """The patterns by which no float32 layer of the graph is called."""
    layers = list(linear_layers(graph)) if patterns else []
    return tuple(pattern for pattern in patterns if not any(layer.is_called([pattern]) for layer in layers))


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
