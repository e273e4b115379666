"""Windows as tensors, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import LogPower
from training.script import Script
from training.vocabulary import IGNORED


@dataclass(frozen=True)
class Window:
    """What is heard and what is taught."""

    offset: int
    """The position in a window of 30 s at which it begins."""
    n_heard: int
    """Positions that the recording fills; behind them the mel is 0, see `_mel`."""
    spectrum: LogPower
    """Log power, "2·n_positions n_mels"."""
    phonemes: NDArray[np.int64]
    """ " n_positions"."""
    ctc: list[int] | None
    """The phonemes in order; None where they are not known."""
    script: Script


@dataclass(frozen=True)
class Batch:
    """Tensors of a batch of windows; see `Nano.forward` for the first three."""

    mel: Tensor
    offsets: Tensor
    tokens: Tensor
    targets: Tensor
    """The next row for each token, or IGNORED."""
    phonemes: Tensor
    """The phoneme at each position, or IGNORED."""
    ctc_targets: Tensor
    ctc_lengths: Tensor
    """Phonemes of each window; -1 where they are not known."""
    focus: Tensor
    """ "batch n_tokens 2": the first and last position that the alignment heads should look at; -1 where unknown."""

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def batch_of(windows: Sequence[Window], *, padding: int) -> Batch:
    """The windows, which are equally long, side by side; shorter scripts end with the row `padding`."""
    n_tokens = max(len(window.script.tokens) for window in windows)
    n_labels = max(1, *(len(window.ctc or ()) for window in windows))
    tokens = torch.full((len(windows), n_tokens), padding)
    targets = torch.full((len(windows), n_tokens), IGNORED)
    focus = torch.full((len(windows), n_tokens, 2), -1)
    ctc = torch.zeros((len(windows), n_labels), dtype=torch.long)
    for row, window in enumerate(windows):
        n = len(window.script.tokens)
        tokens[row, :n] = torch.tensor(window.script.tokens)
        targets[row, :n] = torch.tensor(window.script.targets)
        focus[row, :n] = torch.tensor(window.script.focus)
        ctc[row, : len(window.ctc or ())] = torch.tensor(window.ctc or (), dtype=torch.long)
    return Batch(
        mel=torch.from_numpy(
            _mel(np.stack([window.spectrum for window in windows]), [window.n_heard for window in windows])
        ),
        offsets=torch.tensor([window.offset for window in windows]),
        tokens=tokens,
        targets=targets,
        phonemes=torch.from_numpy(np.stack([window.phonemes for window in windows])),
        ctc_targets=ctc,
        ctc_lengths=torch.tensor([-1 if window.ctc is None else len(window.ctc) for window in windows]),
        focus=focus,
    )


def _mel(spectra: LogPower, n_heard: Sequence[int]) -> LogPower:
    """Whisper's log Mel, "batch n_mels n_frames", from "batch n_frames n_mels" of log power.

    Behind the end of a recording it is 0, as openai/whisper fills its windows (`pad_or_trim`): not the silence that
    one would expect, but a sound of middling loudness in all bands.
    """
    highest = spectra.max(axis=(1, 2), keepdims=True)
    mel = (np.maximum(spectra, highest - 8) + 4) / 4
    for window, n_positions in zip(mel, n_heard, strict=True):
        window[2 * n_positions :] = 0
    return np.ascontiguousarray(mel.transpose(0, 2, 1), dtype=np.float32)
