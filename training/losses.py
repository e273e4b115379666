"""What training makes small: wrong text, wrong phonemes, and attention that looks elsewhere than at the word."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 PyTorch's own name for it

from training.batch import Batch
from training.model import Output
from training.vocabulary import IGNORED


@dataclass(frozen=True)
class Losses:
    """The parts of the loss, each a mean over what it judges."""

    text: Tensor
    phonemes: Tensor
    ctc: Tensor
    focus: Tensor

    def total(self, progress: float) -> Tensor:
        """Hearing counts most at first, writing at last; `progress` goes from 0 to 1."""
        hearing = 1.0 - 0.7 * min(1.0, progress / 0.6)
        return self.text + hearing * (0.5 * self.phonemes + 0.3 * self.ctc) + 0.2 * self.focus


def losses(output: Output, batch: Batch) -> Losses:
    """Every part of the loss of a batch."""
    return Losses(
        text=F.cross_entropy(output.logits.float(), batch.targets[batch.targets != IGNORED]),
        phonemes=F.cross_entropy(
            output.phoneme_logits.flatten(0, 1).float(), batch.phonemes.flatten(), ignore_index=IGNORED
        ),
        ctc=ctc_loss(output.ctc_logits, batch.ctc_targets, batch.ctc_lengths),
        focus=focus_loss(output.alignment, batch.focus),
    )


def ctc_loss(logits: Tensor, targets: Tensor, n_labels: Tensor) -> Tensor:
    """CTC (Graves et al. 2006) per label, over the windows whose labels are known; the label 0 is its blank.

    Args:
        logits: "batch n_positions n_phonemes".
        targets: "batch n_labels", each window's labels first.
        n_labels: " batch"; -1 where the labels are not known.
    """
    known = n_labels >= 0
    if not known.any():
        return logits.new_zeros(())
    n_labels = n_labels[known]
    loss = F.ctc_loss(
        logits[known].float().log_softmax(-1).transpose(0, 1),
        targets[known],
        torch.full_like(n_labels, logits.shape[1]),
        n_labels,
        reduction="none",
        zero_infinity=True,
    )
    return (loss / n_labels.clamp(min=1)).mean()


def focus_loss(alignment: Tensor, focus: Tensor) -> Tensor:
    """How much of the alignment heads' attention, in log terms, falls outside the place of the word.

    Args:
        alignment: "n_heads batch n_tokens n_positions", log of attention.
        focus: "batch n_tokens 2", first and last position; -1 where there is none.
    """
    positions = torch.arange(alignment.shape[-1], device=focus.device)
    inside = (positions >= focus[..., :1]) & (positions <= focus[..., 1:])
    known = (focus[..., 1] >= 0) & inside.any(-1)
    if not known.any():
        return alignment.new_zeros(())
    chosen = alignment[:, known].float().masked_fill(~inside[known], -torch.inf)
    return -chosen.logsumexp(-1).clamp(min=-20).mean()
