"""The decoder's side of int8 cross-attention: attention on integers, whose scales multiply queries and outputs."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.cross_attention import CrossAttention, CrossPair, cross_attention
from stagewhisper.compiler.graph_constants import GraphConstants
from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    alias,
    new_node,
    new_op,
    remove_unused,
    replace_value,
    use_domain,
)
from stagewhisper.compiler.quantization import INT8_LEVELS, TINY_SCALE, UINT8_LEVELS

FLOAT, INT8 = ir.DataType.FLOAT, ir.DataType.INT8


def take_int8(graph: ir.Graph, pairs: Sequence[CrossPair], *, kernel: bool) -> None:
    """Turn these inputs into int8 [n_audio, n_head, n_frames, head_dim], and take what goes with them."""
    attentions = {pair.layer: cross_attention(pair) for pair in pairs} if kernel else {}
    shared = _Shared(graph)
    for pair in pairs:
        inputs = _Inputs(graph, pair, last_frames=kernel)
        found = attentions.get(pair.layer)
        if found is None:
            _make_float(graph, pair, inputs)
        else:
            _attend(graph, pair, inputs, found, shared)


class _Inputs:
    """The new inputs of one layer, in the old ones' places and behind them."""

    def __init__(self, graph: ir.Graph, pair: CrossPair, *, last_frames: bool) -> None:
        rows = [_free(pair.k, 0), pair.n_head, pair.n_frames, pair.head_dim]
        across, along = [*rows[:2], pair.head_dim, 1], [*rows[:2], 1, pair.head_dim]
        self.k = _replaced(graph, pair.k, rows)
        self.v = _replaced(graph, pair.v, rows)
        self.k_scale = _added(graph, f"cross_k_scale_{pair.layer}", across if pair.k_is_turned else along)
        self.v_scale = _added(graph, f"cross_v_scale_{pair.layer}", along)
        self.v_mean = _added(graph, f"cross_v_mean_{pair.layer}", along)
        if last_frames:
            frame = [rows[0], 1, pair.n_head * pair.head_dim]
            self.k_last = _added(graph, f"cross_k_last_{pair.layer}", frame)
            self.v_last = _added(graph, f"cross_v_last_{pair.layer}", frame)


def _replaced(graph: ir.Graph, old: ir.Value, shape: list[int | str]) -> ir.Value:
    """A new int8 input in the place and under the name of `old`, whose users are still to be served."""
    new = ir.val(old.name or "", INT8, shape)
    old.name = f"{old.name}_float"
    graph.inputs[list(graph.inputs).index(old)] = new
    return new


def _added(graph: ir.Graph, name: str, shape: list[int | str]) -> ir.Value:
    value = ir.val(name, FLOAT, shape)
    graph.inputs.append(value)
    return value


def _free(value: ir.Value, axis: int) -> int | str:
    length = (value.shape or ir.Shape([]))[axis]
    return length if isinstance(length, int) else str(length)


def _make_float(graph: ir.Graph, pair: CrossPair, inputs: _Inputs) -> None:
    """Whatever reads keys and values reads them in float32, as they lay before."""
    first = next(iter(graph))
    k = new_op(graph, first, "Cast", inputs.k, to=FLOAT)
    if pair.k_is_turned:
        k = new_op(graph, first, "Transpose", k, perm=[0, 1, 3, 2])
    v = new_op(graph, first, "Cast", inputs.v, to=FLOAT)
    pair.k.replace_all_uses_with(new_op(graph, first, "Mul", k, inputs.k_scale, name=f"cross_k_{pair.layer}_float"))
    v = new_op(graph, first, "Mul", v, inputs.v_scale)
    pair.v.replace_all_uses_with(new_op(graph, first, "Add", v, inputs.v_mean, name=f"cross_v_{pair.layer}_float"))


class _Shared:
    """What all layers' kernels are told: constants, and what depends on the shapes of a call."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[str, ir.Value] = {}
        self.constants = GraphConstants(graph, prefix="const_cross")

    def one_row(self, before: ir.Node, q: ir.Value) -> ir.Value:
        """Whether there is one row to a window; the first layer's answer holds for all."""
        if "one_row" not in self._made:
            n_rows = new_op(self._graph, before, "Shape", q, start=2, end=3)
            one = self.constants.get("one_row_shape", np.array([1]))
            self._made["one_row"] = new_op(self._graph, before, "Equal", n_rows, one, name="cross_one_row")
        return self._made["one_row"]

    def last_position(self, before: ir.Node, pair: CrossPair, k: ir.Value) -> ir.Value:
        """[n_audio] int32: the last frame's position, for each window."""
        name = f"last_position_{pair.n_frames}"
        if name not in self._made:
            n_audio = new_op(self._graph, before, "Shape", k, start=0, end=1)
            last = self.constants.get("last", np.array([pair.n_frames - 1], np.int32))
            self._made[name] = new_op(self._graph, before, "Expand", last, n_audio, name="cross_last_frame")
        return self._made[name]


def _attend(graph: ir.Graph, pair: CrossPair, inputs: _Inputs, found: CrossAttention, shared: _Shared) -> None:
    place, name = found.output, f"cross_{pair.layer}"
    use_domain(graph, MICROSOFT)
    for node in found.counts:
        node.replace_input_with(0, inputs.k)
    k_scale = inputs.k_scale
    if pair.k_is_turned:
        k_scale = new_op(graph, place, "Reshape", k_scale, shared.constants.get("row", np.array([0, 0, 1, -1])))
    q = new_op(graph, place, "Mul", found.q, k_scale, name=f"{name}_q")
    chosen = new_node(
        graph,
        place,
        "If",
        shared.one_row(place, found.q),
        n_outputs=3,
        name=name,
        then_branch=_kernel(graph, place, pair, inputs, q, found.scale, shared),
        else_branch=_products(graph, pair, inputs, q, found.scale, shared),
    )
    y, k, v = chosen.outputs
    y = new_op(graph, place, "Mul", y, inputs.v_scale)
    replace_value(graph, place.outputs[0], new_op(graph, place, "Add", y, inputs.v_mean, name=f"{name}_y"))
    for kind, value, source in (("k", k, inputs.k), ("v", v, inputs.v)):
        value.name, value.type = f"unchanged_cross_{kind}_{pair.layer}", ir.TensorType(INT8)
        value.shape = None if source.shape is None else source.shape.copy()
        graph.outputs.append(value)
        alias(graph, source.name or "", value.name)
    remove_unused(graph, place)


def _kernel(
    graph: ir.Graph, place: ir.Node, pair: CrossPair, inputs: _Inputs, q: ir.Value, scale: float, shared: _Shared
) -> ir.Graph:
    """One row to a window: q [n_audio, n_head, 1, head_dim], which lies as [n_audio, 1, n_head · head_dim] does."""
    one = shared.constants.get("one", np.array([1], np.float32))
    total = shared.constants.get("total", np.array(pair.n_frames, np.int32))
    as_row = shared.constants.get("as_row", np.array([0, 1, -1]))
    as_heads = shared.constants.get("as_heads", np.array([0, pair.n_head, 1, pair.head_dim]))
    last = shared.last_position(place, pair, inputs.k)
    row = ir.node("Reshape", [q, as_row])
    attention = ir.node(
        "GroupQueryAttention",
        [row.outputs[0], inputs.k_last, inputs.v_last, inputs.k, inputs.v, last, total, *[None] * 5, one, one],
        {
            "num_heads": pair.n_head,
            "kv_num_heads": pair.n_head,
            "causal": 0,
            "scale": scale,
            "k_quant_type": "PER_TENSOR",
            "v_quant_type": "PER_TENSOR",
            "kv_cache_bit_width": 8,
        },
        domain=MICROSOFT,
        num_outputs=3,
    )
    heads = ir.node("Reshape", [attention.outputs[0], as_heads])
    outputs = [heads.outputs[0], *attention.outputs[1:]]
    return _branch(graph, f"cross_{pair.layer}_kernel", [row, attention, heads], outputs)


def _products(
    graph: ir.Graph, pair: CrossPair, inputs: _Inputs, q: ir.Value, scale: float, shared: _Shared
) -> ir.Graph:
    """Any number of rows, every one of which is quantised by itself: no row's scale depends on the others."""
    nodes: list[ir.Node] = []

    def op(op_type: str, *values: ir.Value, domain: str = "", **attributes: list[int] | int) -> ir.Value:
        nodes.append(ir.node(op_type, list(values), attributes, domain=domain))
        return nodes[-1].outputs[0]

    def product(left: ir.Value, step: ir.Value, zero: ir.Value, right: ir.Value) -> ir.Value:
        return op("MatMulIntegerToFloat", left, right, step, unit, zero, domain=MICROSOFT)

    number = shared.constants.number
    unit, columns = number("unit", 1), shared.constants.get("columns", np.array([-1]))
    middle, none = number("middle", 128, np.uint8), number("none", 0, np.uint8)
    largest = op("ReduceMax", op("Abs", q), columns)
    step = op("Max", op("Mul", largest, number("step", 1 / INT8_LEVELS)), number("least_step", float(TINY_SCALE)))
    queries = op("QuantizeLinear", op("Div", q, step), unit, middle)
    scores = product(queries, unit, middle, op("Transpose", inputs.k, perm=[0, 1, 3, 2]))
    scores = op("Mul", scores, op("Mul", step, number("scale", scale)))
    exps = op("Exp", op("Sub", scores, op("ReduceMax", scores, columns)))  # the largest of each row is 1
    weight_step = number("weight_step", 1 / UINT8_LEVELS)
    weights = op("QuantizeLinear", exps, weight_step, none)
    y = op("Div", product(weights, weight_step, none, inputs.v), op("ReduceSum", exps, columns))
    kept = [op("Identity", value) for value in (inputs.k, inputs.v)]
    return _branch(graph, f"cross_{pair.layer}_products", nodes, [y, *kept])


def _branch(graph: ir.Graph, name: str, nodes: list[ir.Node], outputs: list[ir.Value]) -> ir.Graph:
    """A graph for an If; its nodes and values are named so that they are told from other graphs'."""
    for number, node in enumerate(nodes):
        node.name = f"{name}_{node.op_type}_{number}"
        for index, output in enumerate(node.outputs):
            output.name = f"{name}_{number}_{index}"
    for output, dtype in zip(outputs, (FLOAT, INT8, INT8), strict=True):
        output.type = ir.TensorType(dtype)
    return ir.Graph([], outputs, nodes=nodes, opset_imports=graph.opset_imports, name=name)
