"""Find keys and values that are repeated for the sequences of a window: by Expand or Tile, and a Reshape or not."""

from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, input_of, ints_of, producer
from stagewhisper.compiler.lengths import known_rank, length_of, numbers_of


@dataclass(frozen=True)
class RepeatedRows:
    """[n_audio, n_head, ..] ─► [n_audio · n_group, n_head, ..], every window's rows side by side."""

    source: ir.Value
    """What is repeated, with four axes."""
    unsqueezed: ir.Value | None
    """The same as [n_audio, 1, n_head, ..]; None where the source has one row, and is repeated as it is."""
    perm: tuple[int, ...] | None = None
    """How the last three axes are transposed after repeating."""


def repeated_rows(value: ir.Value | None) -> RepeatedRows | None:
    """What `value` repeats, if it does:

    x ─► Unsqueeze 1 ─► Expand [1, n_group, 1, 1, 1] ─► Reshape [-1, n_head, .., ..]   (or Tile)
    x [1, n_head, .., ..] ─► Expand [n_seq, 1, 1, 1]                                    (or Tile)
    either ─► Transpose that leaves the first axis
    """
    transpose = producer(value, "Transpose")
    if transpose is None:
        return _interleaved(value) or _from_one(value)
    perm = attribute_of(transpose, "perm")
    repeated = _interleaved(transpose.inputs[0]) or _from_one(transpose.inputs[0])
    if repeated is None or not perm or len(perm) != 4 or perm[0] != 0:
        return None
    return RepeatedRows(repeated.source, repeated.unsqueezed, tuple(perm))


def _interleaved(value: ir.Value | None) -> RepeatedRows | None:
    reshape = producer(value, "Reshape")
    expand = None if reshape is None else producer(reshape.inputs[0], "Expand", "Tile")
    unsqueeze = None if expand is None else producer(expand.inputs[0], "Unsqueeze")
    if reshape is None or expand is None or unsqueeze is None or ints_of(input_of(unsqueeze, 1)) != [1]:
        return None
    source, target = unsqueeze.inputs[0], numbers_of(input_of(reshape, 1))
    repeats = numbers_of(input_of(expand, 1))
    if source is None or repeats is None or target is None or len(repeats) != 5 or known_rank(source) != 4:
        return None
    kept = [length_of(source, axis) for axis in range(1, 4)]
    if 1 not in repeats[:2] or repeats[2:] != [1, 1, 1]:
        return None
    if repeats[0] != 1 and length_of(source, 0) != 1:  # window after window; torch.export writes it for a single one
        return None
    if len(target) != 4 or target[1:] != kept:
        return None
    return RepeatedRows(_original(source), unsqueeze.outputs[0])


def _from_one(value: ir.Value | None) -> RepeatedRows | None:
    expand = producer(value, "Expand", "Tile")
    source = None if expand is None else input_of(expand, 0)
    repeats = None if expand is None else numbers_of(input_of(expand, 1))
    if source is None or repeats is None or known_rank(source) != 4 or length_of(source, 0) != 1:
        return None
    repeats_rows = len(repeats) == 4 and repeats[1:] == [1, 1, 1]
    return RepeatedRows(_original(source), None) if repeats_rows else None


def _original(value: ir.Value) -> ir.Value:
    """The value before an Expand that expands nothing, as torch writes it."""
    expand = producer(value, "Expand")
    source = None if expand is None else input_of(expand, 0)
    if expand is None or source is None or known_rank(source) != known_rank(value):
        return value
    target = numbers_of(input_of(expand, 1)) or []
    return source if target and all(number == 1 for number in target) else value
