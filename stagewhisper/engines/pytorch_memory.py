"""Keys and values of the tokens so far: buffers as long as the text context, written in place.

past    [n_layer, 2, n_seq, n_head, n_text_ctx, head_dim]
                                    └─ ExactSpan: a slice up to the newest token; shapes change from step to step
                                    └─ FixedSpan: a slice of a fixed length under a mask, at a position that lies
                                       on the device; nothing changes from step to step, as a CUDA graph wants it
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines.pytorch_model import KeysAndValues


def empty_past(dims: ModelDims, n_seq: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Buffers for so many sequences, with nothing in them yet."""
    head_dim = dims.n_text_state // dims.n_text_head
    shape = (dims.n_text_layer, 2, n_seq, dims.n_text_head, dims.n_text_ctx, head_dim)
    return torch.empty(shape, device=device, dtype=dtype)


def move_rows(past: Tensor, source_indices: Sequence[int], *, n_past: int) -> None:
    """Sequence i takes the first `n_past` positions of sequence `source_indices[i]`, in place."""
    moved = [row for row, source in enumerate(source_indices) if row != source]
    if moved and n_past:
        filled = past[:, :, :, :, :n_past]
        targets, sources = torch.tensor(
            [moved, [source_indices[row] for row in moved]], device=past.device, dtype=torch.int64
        ).unbind()
        filled.index_copy_(2, targets, filled.index_select(2, sources))


def copy_rows(past: Tensor, target: Tensor, source_indices: Sequence[int], *, n_past: int) -> None:
    """The same into other buffers, which have a row for each of `source_indices`."""
    if n_past:
        sources = torch.tensor(source_indices, device=past.device, dtype=torch.int64)
        target[:, :, :, :, :n_past] = past[:, :, :, :, :n_past].index_select(2, sources)


class ExactSpan:
    """New tokens behind `n_past` others; each sees those before it and itself."""

    def __init__(self, past: Tensor, *, n_past: int, n_new: int) -> None:
        end = n_past + n_new
        self._new = slice(n_past, end)
        self._targets = past[:, :, :, :, self._new].unbind()
        self._keys, self._values = (part.unbind() for part in past[:, :, :, :, :end].unbind(1))
        self.is_causal = n_past == 0 and n_new > 1
        self.mask = _causal_mask(past, n_past=n_past, n_new=n_new) if n_past and n_new > 1 else None

    def positions(self, table: Tensor) -> Tensor:
        """The rows of the table of positions that belong to the new tokens."""
        return table[self._new]

    def write(self, layer: int, keys_and_values: Tensor) -> None:
        """Put in what belongs to the new tokens."""
        self._targets[layer].copy_(keys_and_values)

    def read(self, layer: int) -> KeysAndValues:
        """Everything up to the newest token."""
        return self._keys[layer], self._values[layer]


class FixedSpan:
    """One new token at a position that only the device knows, among the first `n_keys`.

    What lies behind the position must be numbers, though they do not count: 0 times not-a-number is not a number.
    """

    def __init__(self, past: Tensor, *, position: Int64[Tensor, "1"], n_keys: int) -> None:
        self._position = position
        self._targets = past.unbind()
        self._keys, self._values = (part.unbind() for part in past[:, :, :, :, :n_keys].unbind(1))
        behind = torch.arange(n_keys, device=past.device) > position
        mask = torch.zeros(n_keys, device=past.device, dtype=past.dtype).masked_fill_(behind, float("-inf"))
        self.mask: Tensor | None = mask[None, None, None]
        self.is_causal = False

    def positions(self, table: Tensor) -> Tensor:
        """The row of the table of positions that belongs to the new token."""
        return table.index_select(0, self._position)

    def write(self, layer: int, keys_and_values: Tensor) -> None:
        """Put in what belongs to the new token."""
        self._targets[layer].index_copy_(3, self._position, keys_and_values)

    def read(self, layer: int) -> KeysAndValues:
        """The first keys and values, those that are still to come among them."""
        return self._keys[layer], self._values[layer]


def _causal_mask(past: Tensor, *, n_past: int, n_new: int) -> Tensor:
    mask = torch.full((n_new, n_past + n_new), float("-inf"), device=past.device, dtype=past.dtype)
    return mask.triu_(n_past + 1)[None, None]
