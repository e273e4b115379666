"""What a bundle's graphs are given while they are timed: made from the session's own input names, types and shapes.

    mel [n_audio, n_mels, n_frames]           noise          tokens [n_seq, n_new]      random
    past_self_* [n_seq, .., n_past, ..]       noise          logit_positions [1]        the last one
    past_self_* [n_seq, .., 448, ..]          noise, and the input n_past says how many of them count
    cross_*                                   noise; whole numbers where the cache is quantised

The time of every operator here is the same whatever the numbers are, as long as none is denormal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from stagewhisper.errors import BundleError

DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
"""Element types as ONNX Runtime spells them."""


@dataclass(frozen=True)
class Call:
    """One kind of call of a graph."""

    n_audio: int
    """Windows of 30 seconds."""
    n_seq: int
    """Sequences: windows × beams."""
    n_new: int
    """Tokens of each sequence that this call adds."""
    n_past: int
    """Tokens of each sequence that the cache holds."""

    @property
    def n_total(self) -> int:
        """Tokens that the new ones attend to, themselves among them."""
        return self.n_past + self.n_new


@runtime_checkable
class GraphInput(Protocol):
    """What ONNX Runtime tells of a graph's input."""

    name: str
    type: str
    shape: Sequence[int | str]


def call_inputs(inputs: Sequence[GraphInput], call: Call, *, n_vocab: int, seed: int = 0) -> dict[str, np.ndarray]:
    """An array for each input of a graph; the same ones for the same seed.

    Raises:
        BundleError: an input has a type, an axis or a meaning that is not known here.
    """
    random = np.random.default_rng(seed)
    return {given.name: _array(given, call, random, n_vocab=n_vocab) for given in inputs}


def _array(given: GraphInput, call: Call, random: np.random.Generator, *, n_vocab: int) -> np.ndarray:
    shape, dtype = _shape(given, call), _dtype(given)
    if given.name == "tokens":
        return random.integers(0, n_vocab, shape).astype(dtype)
    if given.name == "logit_positions":
        return np.full(shape, call.n_new - 1, dtype)
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(shape, np.float32).astype(dtype)
    if given.name.startswith(("past_self_", "cross_")) and len(shape) > 1:
        return random.integers(1, 100, shape).astype(dtype)
    return np.full(shape, _length(given.name, call), dtype)


def _shape(given: GraphInput, call: Call) -> tuple[int, ...]:
    lengths = {
        "n_audio": call.n_audio,
        "n_seq": call.n_seq,
        "n_new": call.n_new,
        "n_past": call.n_past,
        "n_positions": 1,
        "n_group": call.n_seq // call.n_audio,
    }
    unknown = [axis for axis in given.shape if not isinstance(axis, int) and axis not in lengths]
    if unknown:
        raise BundleError(
            f"The graph's input {given.name!r} has an axis {unknown[0]!r}; known are {', '.join(lengths)}. "
            "Compile the model again with this release."
        )
    return tuple(axis if isinstance(axis, int) else lengths[axis] for axis in given.shape)


def _dtype(given: GraphInput) -> type[np.generic]:
    if given.type not in DTYPES:
        raise BundleError(f"The graph's input {given.name!r} is a {given.type}; known are {', '.join(DTYPES)}.")
    return DTYPES[given.type]


def _length(name: str, call: Call) -> int:
    """The number in an input that tells how much of a cache of fixed length counts."""
    if "seqlens" in name:  # GroupQueryAttention counts from 0: the index of the last position
        return call.n_total - 1
    if "total" in name:
        return call.n_total
    if "past" in name:
        return call.n_past
    raise BundleError(
        f"The graph's input {name!r} is not known: lengths are called n_past, total_… or seqlens_…. "
        "Compile the model again with this release."
    )
