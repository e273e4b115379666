"""The encoder's graph cut at the audio features, for an engine that computes one side of it only.

    whole                  mel ─► blocks ─► audio_features ─► projections ─► cross_k_i, cross_v_i, …
    up to the features     mel ─► blocks ─► audio_features
    from the features                       audio_features ─► projections ─► cross_k_i, cross_v_i, …

The graph is cut when an engine is asked for one side, and not by the compiler: so any bundle can be used. `onnx_ir`,
which is slow to import, is imported for that alone. Weights are not read: the cut graph names their places in the
bundle's file, and ONNX Runtime maps that.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stagewhisper.errors import BundleError

if TYPE_CHECKING:
    import onnx_ir as ir

AUDIO_FEATURES = "audio_features"
"""The name of the encoder's output that both sides share."""


def cut_up_to_features(encoder: Path) -> bytes:
    """The graph from `mel` to `audio_features`, as ONNX Runtime takes it; weights stay beside `encoder`.

    Raises:
        BundleError: the file is no graph of an encoder.
    """
    model, features = _opened(encoder)
    model.graph.outputs[:] = [features]
    _prune(model.graph)
    return _serialised(model)


def cut_from_features(encoder: Path) -> bytes:
    """The graph from `audio_features` to all that the decoder takes, likewise.

    Raises:
        BundleError: the file is no graph of an encoder, or its projections see more of it than the audio features.
    """
    import onnx_ir as ir

    model, features = _opened(encoder)
    graph = model.graph
    given = ir.Value(name=AUDIO_FEATURES, type=features.type, shape=features.shape)
    graph.outputs[:] = [output for output in graph.outputs if output is not features]
    features.name = f"{AUDIO_FEATURES}_of_the_encoder"
    features.replace_all_uses_with(given)
    before = list(graph.inputs)
    graph.inputs[:] = [given]
    _prune(graph)
    if any(value.uses() for value in before):
        raise BundleError(
            f"{encoder} cannot be cut at {AUDIO_FEATURES}: what the decoder takes is made of other values, too. "
            "Let one engine and device run the whole model, or compile it by another recipe."
        )
    return _serialised(model)


def _opened(encoder: Path) -> "tuple[ir.Model, ir.Value]":
    import onnx_ir as ir

    try:
        model = ir.load(encoder)
    except Exception as error:
        raise BundleError(f"Cannot read the graph {encoder}: {error}. Compile the bundle again.") from error
    for output in model.graph.outputs:
        if output.name == AUDIO_FEATURES:
            return model, output
    raise BundleError(f"The graph {encoder} has no output {AUDIO_FEATURES}. Compile the bundle again.")


def _prune(graph: "ir.Graph") -> None:
    """Remove nodes and weights that the outputs do not need."""
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def _serialised(model: "ir.Model") -> bytes:
    import onnx_ir as ir

    return bytes(ir.to_proto(model).SerializeToString())
