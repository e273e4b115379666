"""Compute an encoder's attention on 8-bit integers: half of a quantised encoder's time is attention.

    before   q, k, v [n_audio, n_frames, n_state] ─► MultiHeadAttention ─► y
    after    q, k, v ─► Reshape ─► Transpose ─► Reshape [n_audio · n_head, n_frames, head_dim]
             ─► Scan, one head of one window at a time: see `int8_attention.py` ─► Reshape ─► Transpose ─► Reshape ─► y

Both products run on the CPU's 8-bit instructions: q · kᵀ with scales of the head's own, and the softmax's weights times
v with a scale for each row. What lies between them stays float32, and in the cache, for it is made for some rows at a
time. No calibration: every range is that of the window itself, and windows do not influence each other.

Declines for attention with a mask, a bias, a cache or keys from elsewhere, for few frames or a number of them that
differs from call to call: there is nothing to gain for a decoder's few queries.
"""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import declares
from stagewhisper.compiler.graph_constants import GraphConstants
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    attribute_of,
    input_of,
    new_node,
    new_op,
    nodes_of,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.int8_attention import HeadShape, attention_body
from stagewhisper.compiler.trial_lengths import Trial, try_lengths
from stagewhisper.errors import OptionError

TOLERANCE = 0.1

FEWEST_FRAMES = 64
"""With fewer, splitting into heads and looking for ranges costs more than the products gain."""


@declares(tolerance=TOLERANCE)
def quantize_attention(graph: ir.Graph, *, n_rows: int = 500) -> int:
    """Turn MultiHeadAttention over whole windows into products of 8-bit integers; returns how many.

    `n_rows` queries are worked on at a time: their scores, 4 bytes for each frame, should fit into the cache.

    Raises:
        OptionError: `n_rows` is not positive.
    """
    if n_rows < 1:
        raise OptionError(f"n_rows is {n_rows}. Give the number of queries to work on at a time: 1 or more.")
    trials, constants = try_lengths(graph), GraphConstants(graph, prefix="const_attention")
    found = [(node, shape) for node in _attentions(graph) if (shape := _shape(node, trials, n_rows)) is not None]
    for number, (node, shape) in enumerate(found):
        _quantize(graph, node, shape, constants, name=f"attention_{number}")
    return len(found)


def _attentions(graph: ir.Graph) -> list[ir.Node]:
    """Those that see all frames and have nothing but queries, keys and values."""
    return [
        node
        for node in nodes_of(graph, "MultiHeadAttention", domain=MICROSOFT)
        if all(input_of(node, index) is not None for index in range(3))
        and all(value is None for value in node.inputs[3:])
        and not attribute_of(node, "unidirectional", 0)
        and not any(output.uses() or output.is_graph_output() for output in node.outputs[1:])
    ]


def _shape(node: ir.Node, trials: tuple[Trial, ...], n_rows: int) -> HeadShape | None:
    """The same lengths in all trials, or None."""
    shapes = {trial.shape(value) for trial in trials for value in node.inputs[:3]}
    lengths = {shape[1:] for shape in shapes if shape is not None and len(shape) == 3}
    if None in shapes or len(lengths) != 1 or any(len(shape or ()) != 3 for shape in shapes):
        return None
    ((n_frames, n_state),) = lengths
    n_head = attribute_of(node, "num_heads")
    if n_frames < FEWEST_FRAMES or n_state % n_head:
        return None
    head_dim = n_state // n_head
    return HeadShape(n_frames, head_dim, attribute_of(node, "scale", 0.0) or head_dim**-0.5, n_rows)


def _quantize(graph: ir.Graph, node: ir.Node, shape: HeadShape, constants: GraphConstants, *, name: str) -> None:
    n_head = attribute_of(node, "num_heads")
    split = constants.get("split_heads", np.array([0, 0, n_head, shape.head_dim]))
    single = constants.get("single_heads", np.array([-1, shape.n_frames, shape.head_dim]))
    together = constants.get("heads_of_windows", np.array([-1, n_head, shape.n_frames, shape.head_dim]))
    merged = constants.get("merged_heads", np.array([0, 0, n_head * shape.head_dim]))

    def heads(x: ir.Value | None) -> ir.Value:
        turned = new_op(graph, node, "Transpose", new_op(graph, node, "Reshape", x, split), perm=[0, 2, 1, 3])
        return new_op(graph, node, "Reshape", turned, single)

    scan = new_node(
        graph,
        node,
        "Scan",
        *[heads(value) for value in node.inputs[:3]],
        body=attention_body(name, shape, constants),
        num_scan_inputs=3,
        name=name,
    )
    apart = new_op(graph, node, "Reshape", scan.outputs[0], together)
    y = new_op(graph, node, "Reshape", new_op(graph, node, "Transpose", apart, perm=[0, 2, 1, 3]), merged)
    replace_value(graph, node.outputs[0], y)
    remove_unused(graph, node)
