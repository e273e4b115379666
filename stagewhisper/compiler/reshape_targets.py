"""Say in numbers what a Reshape does, however its target was computed.

Shape(x)[0], Shape(x)[1], 8, 64 ─► Concat ─► Reshape        the target [0, 0, 8, 64]
"""

from collections.abc import Sequence

from stagewhisper.compiler.trial_lengths import Shape

_COPY, _REST = 0, -1


def constant_target(before: Sequence[Shape], after: Sequence[Shape]) -> list[int] | None:
    """A target that turns each shape of `before` into the one of `after`; None if no constant does.

    0 stands for the length that the same axis had before, -1 for whatever is left over.
    """
    if not before or len({len(shape) for shape in before}) != 1 or len({len(shape) for shape in after}) != 1:
        return None
    target = [_length(axis, before, after) for axis in range(len(after[0]))]
    if target.count(_REST) > 1:
        return None
    return target if all(_is_exact(target, old, new) for old, new in zip(before, after, strict=True)) else None


def _length(axis: int, before: Sequence[Shape], after: Sequence[Shape]) -> int:
    if axis < len(before[0]) and all(old[axis] == new[axis] for old, new in zip(before, after, strict=True)):
        return _COPY
    lengths = {shape[axis] for shape in after}
    return lengths.pop() if len(lengths) == 1 else _REST


def _is_exact(target: Sequence[int], old: Shape, new: Shape) -> bool:
    """Whether ONNX reads the target as `new`; with -1 beside an axis of length 0 it cannot."""
    given = [old[axis] if length == _COPY and axis < len(old) else length for axis, length in enumerate(target)]
    fixed = [(length, wanted) for length, wanted in zip(given, new, strict=True) if length != _REST]
    if any(length != wanted for length, wanted in fixed):
        return False
    return _REST not in target or all(length > 0 for length, _ in fixed)
