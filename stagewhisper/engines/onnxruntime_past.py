"""Keys and values of the tokens so far, in the two forms that compiled decoders take them.

    growing   past [n_seq, n_head, n_past, head_dim]  ─► decoder ─► present, n_new positions longer, a new tensor a step
    static    past [n_seq, n_head, n_text_ctx, head_dim] ─► decoder ─► the same memory, n_new positions of it written

The form is the graph's: the compiler notes in its metadata which outputs are written over which inputs.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

# Unless told so before it is imported, ONNX Runtime writes a device id into the user's cache and sends events about
# every session to its makers. Nobody asked for that, and offline means offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

Buffers = Mapping[str, ort.OrtValue]
"""Tensors inside ONNX Runtime, by the name of the graph's input or output that they are bound to."""

__all__ = ["Buffers", "Past", "PastForm", "StaticPast", "noted_aliases", "ort", "past_form", "tensor_type"]

_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
}


@runtime_checkable
class Past(Protocol):
    """What a decoder call takes of the tokens before it, and what it leaves for the next one."""

    @property
    def n_past(self) -> int:
        """Positions filled."""
        ...

    def inputs(self) -> Buffers:
        """What is bound to the graph's inputs."""
        ...

    def outputs(self) -> Mapping[str, ort.OrtValue | None]:
        """Where the graph's outputs are to be written; None leaves the place to ONNX Runtime."""
        ...

    def after(self, outputs: Buffers, n_new: int) -> "Past":
        """The same with `n_new` more positions, which a call has written to `outputs`."""
        ...

    def reordered(self, rows: Sequence[int]) -> "Past":
        """Sequence i continues sequence `rows[i]`; this one must not be used afterwards."""
        ...


@dataclass(frozen=True)
class PastForm:
    """How one decoder graph takes its past."""

    inputs: Mapping[str, tuple[tuple[int | str, ...], type[np.generic]]]
    """Shape and type of every past input by its name; the free dimensions are text."""
    aliases: Mapping[str, str]
    """Outputs by the inputs that they are written over; empty where the past grows."""

    @property
    def is_static(self) -> bool:
        """Whether the past lies in buffers of fixed length."""
        return bool(self.aliases)

    def empty(self, n_seq: int) -> Past:
        """A past without positions for so many sequences."""
        arrays = {}
        for name, (shape, dtype) in self.inputs.items():
            lengths = (n_seq, *(length if isinstance(length, int) else 0 for length in shape[1:]))
            arrays[name] = np.zeros(lengths, dtype)
        if self.is_static:
            return StaticPast(_Rows(arrays), self.aliases, n_past=0)
        return GrowingPast({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}, n_past=0)


def past_form(session: ort.InferenceSession) -> PastForm:
    """How the decoder of this session takes its past."""
    inputs = {
        one.name: (tuple(one.shape), _TYPES[one.type])
        for one in session.get_inputs()
        if one.name.startswith("past_self_")
    }
    return PastForm(inputs, {name: output for name, output in noted_aliases(session).items() if name in inputs})


def tensor_type(name: str) -> type[np.generic]:
    """NumPy's type for what ONNX Runtime calls "tensor(float)"."""
    return _TYPES[name]


def noted_aliases(session: ort.InferenceSession) -> dict[str, str]:
    """Outputs by the inputs that they are written over, as the compiler noted them in the graph's metadata."""
    noted = session.get_modelmeta().custom_metadata_map.get("stagewhisper.aliases", "{}")
    return {str(name): str(output) for name, output in json.loads(noted).items()}


@dataclass(frozen=True)
class GrowingPast:
    """Each call's outputs are bound as the next one's inputs, so nothing is copied on our side."""

    values: Buffers
    n_past: int

    def inputs(self) -> Buffers:
        """The tensors that the last call made."""
        return self.values

    def outputs(self) -> Mapping[str, None]:
        """New tensors, one position longer or more."""
        return {_present_name(name): None for name in self.values}

    def after(self, outputs: Buffers, n_new: int) -> "GrowingPast":
        """The new tensors take the place of the old ones."""
        return GrowingPast({name: outputs[_present_name(name)] for name in self.values}, self.n_past + n_new)

    def reordered(self, rows: Sequence[int]) -> "GrowingPast":
        """Rows are copied to new tensors, if any moves."""
        n_seq = next(iter(self.values.values())).shape()[0]
        if list(rows) == list(range(n_seq)):
            return self
        picked = {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.numpy()[list(rows)]))
            for name, value in self.values.items()
        }
        return replace(self, values=picked)


class _Rows:
    """Buffers of keys and values, and what was written where: beams mostly share what lies further back."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        """`arrays` by input name, "n_seq n_head n_text_ctx head_dim"."""
        self.arrays = arrays
        self.values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        n_seq, _, n_text_ctx, _ = next(iter(arrays.values())).shape
        self._written = np.zeros((n_seq, n_text_ctx), np.int64)  # every write has a number of its own
        self._n_writes = 0

    @property
    def n_seq(self) -> int:
        return len(self._written)

    def note(self, n_past: int, n_new: int) -> None:
        """Every row has new content behind `n_past` positions."""
        numbers = np.arange(self._n_writes, self._n_writes + self.n_seq * n_new).reshape(self.n_seq, n_new) + 1
        self._written[:, n_past : n_past + n_new] = numbers
        self._n_writes += self.n_seq * n_new

    def move(self, rows: Sequence[int], n_past: int) -> None:
        """Row i takes over the content of row `rows[i]`; only positions that differ are copied."""
        sources = np.asarray(rows)
        differs = (self._written[sources, :n_past] != self._written[:, :n_past]).nonzero()
        if not len(differs[0]):
            return
        moved, first = np.unique(differs[0]), int(differs[1].min())
        for array in (*self.arrays.values(), self._written[:, None, :, None]):
            array[moved, :, first:n_past] = array[sources[moved], :, first:n_past]

    def picked(self, rows: Sequence[int], n_past: int) -> "_Rows":
        """New buffers, as many rows as are asked for."""
        made = {name: np.zeros((len(rows), *array.shape[1:]), array.dtype) for name, array in self.arrays.items()}
        for name, array in self.arrays.items():
            made[name][:, :, :n_past] = array[list(rows), :, :n_past]
        new = _Rows(made)
        new._written[:, :n_past] = self._written[list(rows), :n_past]
        new._n_writes = self._n_writes
        return new


@dataclass(frozen=True)
class StaticPast:
    """Buffers that the decoder writes into; ONNX Runtime sees the arrays' own memory."""

    rows: _Rows
    aliases: Mapping[str, str]
    n_past: int

    def inputs(self) -> Buffers:
        """The buffers as they are."""
        return self.rows.values

    def outputs(self) -> Buffers:
        """The same buffers."""
        return {self.aliases[name]: value for name, value in self.rows.values.items()}

    def after(self, outputs: Buffers, n_new: int) -> "StaticPast":  # noqa: ARG002  they are the buffers themselves
        """More of the same buffers is filled."""
        self.rows.note(self.n_past, n_new)
        return replace(self, n_past=self.n_past + n_new)

    def reordered(self, rows: Sequence[int]) -> "StaticPast":
        """Rows move within the buffers; only where their number changes are there new ones."""
        if len(rows) == self.rows.n_seq:
            if list(rows) != list(range(len(rows))):
                self.rows.move(rows, self.n_past)
            return self
        return replace(self, rows=self.rows.picked(rows, self.n_past))


def _present_name(past_name: str) -> str:
    return past_name.replace("past_", "present_", 1)
