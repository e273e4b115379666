"""Bring graphs of other exporters into the plain form that our own export has and the other passes look for.

               before                                                   after
    no-ops     x ─► Cast float, · 1, + 0, Identity, Concat of one,
               Reshape, Expand, Slice or Tile of everything ─► y        x ─► y
    targets    x ─► Shape ─► Gather ─► … ─► Concat ─► Reshape           x ─► Reshape [0, 0, 8, 64]
    keys       k ─► Reshape 3-D ─► Transpose [0,2,1] ─► Reshape 4-D     k ─► Transpose [0,1,3,2]
    scale      (q · √s) · (k · √s)ᵀ                                     (q · s) · kᵀ
    guard      Softmax ─► IsNaN ─► Where(it, 0, Softmax)                Softmax, where the mask shows every row a key

What a layout does is not read off its operators but tried out at several lengths (`trial_lengths`), for every exporter
writes it in a new way. On our own export it does nothing. Run it first on foreign graphs, and `fold_constants` after
it. Declines for outputs of the graph where nothing but their name would stay.

Source: what torch.onnx.export makes of openai-whisper, and optimum of transformers' Whisper (the tests have both).
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    attribute_of,
    ints_of,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    scalar_of,
)
from stagewhisper.compiler.inferred_shapes import infer_shapes
from stagewhisper.compiler.no_ops import unchanged
from stagewhisper.compiler.reshape_targets import constant_target
from stagewhisper.compiler.trial_lengths import Trial, try_lengths

Rule = Callable[[ir.Graph, ir.Node, Sequence[Trial]], bool]


def normalise_export(graph: ir.Graph) -> int:
    """Undo what exporters write in many ways; returns how often a rule did."""
    total = 0
    while rewritten := _sweep(graph):
        total += rewritten
    return total


def _sweep(graph: ir.Graph) -> int:
    """Every rule once at every node; the values that it makes have no known shapes until the next sweep."""
    trials = try_lengths(graph)
    rewritten = _remove_no_ops(graph, trials)
    rules: list[tuple[str, Rule]] = [
        ("Where", _drop_guard),
        ("MatMul", _gather_scale),
        ("Reshape", _turn_keys_directly),
        ("Reshape", _fix_target),
    ]
    for op_type, rule in rules:
        rewritten += sum(rule(graph, node, trials) for node in nodes_of(graph, op_type))
    return rewritten


def _remove_no_ops(graph: ir.Graph, trials: Sequence[Trial]) -> int:
    shapes = infer_shapes(graph)
    removed = 0
    for node in tuple(graph):
        source = None if node.graph is not graph else unchanged(node, shapes, trials)
        if source is None or (node.outputs[0].is_graph_output() and _must_keep_name(source)):
            continue
        replace_value(graph, node.outputs[0], source)
        removed += remove_unused(graph, node) > 0
    return removed


def _must_keep_name(source: ir.Value) -> bool:
    return source.producer() is None or source.is_graph_output()


def _fix_target(graph: ir.Graph, reshape: ir.Node, trials: Sequence[Trial]) -> bool:
    """Give the Reshape a constant target of copied and fixed lengths, that 0 may mean "copied" in."""
    source, target = reshape.inputs[:2]
    numbers = ints_of(target)
    if numbers is not None:
        return 0 not in numbers and reshape.attributes.pop("allowzero", ir.AttrInt64("allowzero", 0)).as_int() != 0
    if target is None or _has_groups(graph):
        return False
    before, after = ([trial.shape(value) for trial in trials] for value in (source, reshape.outputs[0]))
    known = [shape for shape in (*before, *after) if shape is not None]
    wanted = constant_target(known[: len(trials)], known[len(trials) :]) if len(known) == 2 * len(trials) else None
    if wanted is None:
        return False
    new_target = add_initializer(graph, f"{reshape.outputs[0].name}_target", np.asarray(wanted, np.int64))
    reshape.replace_input_with(1, new_target)
    reshape.attributes.pop("allowzero", None)
    if (computed := target.producer()) is not None:
        remove_unused(graph, computed)
    return True


def _has_groups(graph: ir.Graph) -> bool:
    """Whether some sequences share a window: the tries have two in each, which must not be taken for a fixed length."""
    batches = {str(value.shape[0]) for value in graph.inputs if value.shape is not None and len(value.shape) > 1}
    return {"n_audio", "n_seq"} <= batches


def _turn_keys_directly(graph: ir.Graph, reshape: ir.Node, trials: Sequence[Trial]) -> bool:
    """[a, b, n, d] ─► [a·b, n, d] ─► [a·b, d, n] ─► [a, b, d, n] is one Transpose of the last two axes."""
    transpose = producer(reshape.inputs[0], "Transpose")
    first = None if transpose is None else producer(transpose.inputs[0], "Reshape")
    if transpose is None or first is None or attribute_of(transpose, "perm") != [0, 2, 1]:
        return False
    x = first.inputs[0]
    for trial in trials:
        old, new, middle = trial.shape(x), trial.shape(reshape.outputs[0]), trial.shape(first.outputs[0])
        if old is None or new is None or middle is None or len(old) != 4:
            return False
        if new != (*old[:2], old[3], old[2]) or middle != (old[0] * old[1], *old[2:]):
            return False
    replace_value(graph, reshape.outputs[0], new_op(graph, reshape, "Transpose", x, perm=[0, 1, 3, 2]))
    remove_unused(graph, reshape)
    return True


def _gather_scale(graph: ir.Graph, product: ir.Node, trials: Sequence[Trial]) -> bool:
    """Move the keys' factor over to the queries."""
    queries, keys = (producer(value, "Mul") for value in product.inputs)
    turned = producer(product.inputs[1], "Transpose")
    if keys is None and turned is not None and only_consumer(turned.outputs[0]) is product:
        keys = producer(turned.inputs[0], "Mul")
    if queries is None or keys is None:
        return False
    ours, theirs = _scaled(queries, trials), _scaled(keys, trials)
    if ours is None or theirs is None or only_consumer(queries.outputs[0]) is None:
        return False
    if only_consumer(keys.outputs[0]) is None:
        return False
    scale = add_initializer(graph, "attention_scale", np.asarray(ours[1] * theirs[1], np.float32))
    replace_value(graph, queries.outputs[0], new_op(graph, queries, "Mul", ours[0], scale))
    replace_value(graph, keys.outputs[0], theirs[0])
    remove_unused(graph, queries, keys)
    return True


def _scaled(node: ir.Node, trials: Sequence[Trial]) -> tuple[ir.Value, float] | None:
    """(x, s) of x · s with a positive factor that is the same at all lengths; in float32."""
    for x, factor in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        found = {_number(factor, trial) for trial in trials}
        number = found.pop() if len(found) == 1 else None
        if x is not None and number is not None and number > 0 and scalar_of(x) is None:
            return x, number
    return None


def _number(value: ir.Value | None, trial: Trial) -> float | None:
    array = trial.array(value)
    is_one = array is not None and array.size == 1 and array.dtype == np.float32
    return float(array.reshape(())) if is_one and array is not None else None


def _drop_guard(graph: ir.Graph, where: ir.Node, trials: Sequence[Trial]) -> bool:
    """Read the softmax itself where none of its rows can be without a key."""
    is_nan = producer(where.inputs[0], "IsNaN")
    softmax = producer(where.inputs[2], "Softmax")
    if is_nan is None or softmax is None or is_nan.inputs[0] is not softmax.outputs[0]:
        return False
    if scalar_of(where.inputs[1]) != 0 or where.outputs[0].is_graph_output() or not _has_keys(softmax, trials):
        return False
    replace_value(graph, where.outputs[0], softmax.outputs[0])
    remove_unused(graph, where)
    return True


def _has_keys(softmax: ir.Node, trials: Sequence[Trial]) -> bool:
    """Whether the mask that was added to the scores leaves something visible in every row, at all lengths."""
    add = producer(softmax.inputs[0], "Add")
    if add is None:
        return False
    for mask in add.inputs:
        arrays = [trial.array(mask) for trial in trials]
        if all(array is not None and array.ndim and bool(np.isfinite(array).any(axis=-1).all()) for array in arrays):
            return True
    return False
