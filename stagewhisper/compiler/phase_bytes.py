"""How many bytes one call of a graph moves, from the sizes of its tensors.

weights            every one once; of a table such as the token embedding, the rows that are looked up
cross_*            once
past_self_*        the positions that count: all of a growing cache, n_past of one of fixed length
present_self_*     all of a growing cache, which is a new array; n_new positions of one of fixed length
unchanged_cross_*  nothing: kernels that want the audio's keys and values as outputs too leave them where they are
intermediate       what the operators wrote, less the graph's outputs; views write nothing, and of an If or a Scan it is
                   the nodes within that write
"""

from collections.abc import Mapping, Sequence

import numpy as np

from stagewhisper.compiler.graph_facts import GraphFacts
from stagewhisper.compiler.profile_inputs import DTYPES, Call
from stagewhisper.compiler.profile_results import PhaseBytes
from stagewhisper.compiler.profiler_events import NodeEvent, TensorShape

_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape"})
"""Operators that hand their input on where it lies, or read its shape alone."""


def phase_bytes(
    call: Call,
    *,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, int],
    nodes: Sequence[NodeEvent],
    facts: GraphFacts,
) -> PhaseBytes:
    """The bytes of one call.

    `outputs` are sizes by name; `nodes` are what the profiler saw.
    """
    past = {name: array for name, array in inputs.items() if name.startswith("past_self_")}
    cross = sum(array.nbytes for name, array in inputs.items() if name.startswith("cross_"))
    unchanged = {output: inputs[given] for given, output in facts.aliases.items() if given.startswith("cross_")}
    written = sum(size for name, size in outputs.items() if name not in unchanged)
    present = {name: size for name, size in outputs.items() if name.startswith("present_self_")}
    fixed = {output: given for given, output in facts.aliases.items()}
    made = sum(_made(node, list(unchanged.values())) for node in nodes)
    return PhaseBytes(
        weights=facts.weight_bytes + sum(node.output_bytes for node in nodes if node.name in facts.table_readers),
        cross_cache=cross,
        self_cache_read=sum(_part(array, call.n_past, name in facts.aliases) for name, array in past.items()),
        self_cache_written=sum(
            _part(past[fixed[name]], call.n_new, True) if name in fixed else size for name, size in present.items()
        ),
        other_inputs=sum(array.nbytes for array in inputs.values()) - cross - sum(a.nbytes for a in past.values()),
        other_outputs=written - sum(present.values()),
        intermediate=max(0, made - written),
    )


def _made(node: NodeEvent, unchanged: Sequence[np.ndarray]) -> int:
    """Bytes that the node wrote; outputs that are one of the arrays `unchanged`, by type and shape, are not written."""
    if node.is_container or node.op_type in _VIEWS:
        return 0
    handed_on = (next((array.nbytes for array in unchanged if _is_as(output, array)), 0) for output in node.outputs[1:])
    return node.output_bytes - sum(handed_on)


def _is_as(output: TensorShape, array: np.ndarray) -> bool:
    return output.shape == array.shape and DTYPES.get(f"tensor({output.dtype})") == array.dtype


def _part(cache: np.ndarray, n_positions: int, is_fixed: bool) -> int:
    """Bytes of so many positions of a cache [n_seq, n_head, positions, head_dim] of fixed length, or of all."""
    return cache.nbytes * n_positions // cache.shape[-2] if is_fixed else cache.nbytes
