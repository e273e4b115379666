"""How many multiplications and additions a node did, from the shapes that it saw.

Counted are products of matrices, convolutions and attention, 2 for each multiplication with its addition; the other
operators of Whisper do a few operations for each number that they read, and count as none.

    MatMul       [.., m, k] · [k, n]       2·m·k·n
    Conv         [c, t] → [d, u]           2·d·u·c·k
    attention    q over `n_keys` keys      4·(elements of q)·n_keys
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from stagewhisper.compiler.profiler_events import NodeEvent, TensorShape

_MATMULS = frozenset(
    {
        *("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulNBits"),
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
    }
)
_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv"})
_PROJECTING_ATTENTION = frozenset({"Attention", "QAttention"})  # ONNX Runtime's: with its own packed product
_ATTENTION = frozenset({"MultiHeadAttention", "DecoderMaskedMultiHeadAttention", "GroupQueryAttention"})
_INT8 = frozenset(
    {
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
        *("ConvInteger", "QLinearConv", "QAttention"),
    }
)
_INT8_ACCURACY_LEVEL = 4
"""Of MatMulNBits: its activations are rounded to int8, and the products are those of int8."""


@dataclass(frozen=True)
class NodeFacts:
    """What the graph says of a node, and its profile does not."""

    weight_shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of its constant inputs, in order."""
    accuracy_level: int = 0


@dataclass(frozen=True)
class Work:
    """Operations of one node."""

    flops: int = 0
    is_int8: bool = False
    is_known: bool = True
    """False where shapes are missing that the count needs."""


NO_FACTS: Mapping[str, NodeFacts] = MappingProxyType({})


def node_work(node: NodeEvent, *, n_total: int, n_text_ctx: int, facts: Mapping[str, NodeFacts] = NO_FACTS) -> Work:
    """The operations of `node`; in a cache of `n_text_ctx` fixed positions, `n_total` are attended to."""
    about = facts.get(node.name.split("/")[0], NodeFacts())
    is_int8 = node.op_type in _INT8 or (node.op_type == "MatMulNBits" and about.accuracy_level == _INT8_ACCURACY_LEVEL)
    if node.op_type in _MATMULS:
        flops = _matmul(node)
    elif node.op_type in _CONVOLUTIONS:
        flops = _convolution(node, about)
    elif node.op_type in _ATTENTION:
        flops = _attention(node, n_total=n_total, n_text_ctx=n_text_ctx)
    elif node.op_type in _PROJECTING_ATTENTION:
        flops = _projecting_attention(node, n_total=n_total, n_text_ctx=n_text_ctx)
    else:
        return Work()
    return Work(flops or 0, is_int8, is_known=flops is not None)


def _matmul(node: NodeEvent) -> int | None:
    if not node.inputs or not node.outputs:
        return None
    left, output = node.inputs[0].shape, node.outputs[0].shape
    if len(left) < 2 or len(output) < 2 or not output[-2]:
        return 2 * prod(output) * (left[-1] if left else 1)
    # FusedMatMul may read its left side transposed: its last two axes are m and k in either order.
    return 2 * prod(output) * (left[-2] * left[-1] // output[-2])


def _convolution(node: NodeEvent, about: NodeFacts) -> int | None:
    kernels = [shape for shape in about.weight_shapes if len(shape) >= 3]
    kernels += [given.shape for given in node.inputs[1:] if len(given.shape) >= 3]
    return 2 * prod(node.outputs[0].shape) * prod(kernels[0][1:]) if kernels else None


def _attention(node: NodeEvent, *, n_total: int, n_text_ctx: int) -> int | None:
    n_keys = _n_keys(node)
    if n_keys is None:
        return None
    return 4 * prod(node.outputs[0].shape) * (n_total if n_keys == n_text_ctx else n_keys)


def _projecting_attention(node: NodeEvent, *, n_total: int, n_text_ctx: int) -> int | None:
    x, output = node.inputs[0].shape, node.outputs[0].shape
    n_keys = node.outputs[1].shape[-2] if len(node.outputs) > 1 else x[1]
    attended = 4 * prod(output) * (n_total if n_keys == n_text_ctx else n_keys)
    return 2 * prod(x) * 3 * output[-1] + attended


def _n_keys(node: NodeEvent) -> int | None:
    """Keys that each query meets: those of the cache that comes out, or else of the keys that go in."""
    if len(node.outputs) > 1 and len(node.outputs[1].shape) == 4:
        return node.outputs[1].shape[-2]
    query = node.inputs[0].shape
    if len(query) == 5:  # packed: [batch, n, head, 3, head_dim]
        return query[1]
    return _keys_of(node.inputs[1]) if len(node.inputs) > 1 else None


def _keys_of(key: TensorShape) -> int | None:
    """The positions in [batch, n, state], [batch, head, n, head_dim] or packed [batch, n, head, 2, head_dim]."""
    axis = {3: 1, 4: 2, 5: 1}.get(len(key.shape))
    return None if axis is None else key.shape[axis]
