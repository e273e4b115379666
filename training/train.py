"""Train nano: `python -m training.train WORK_FOLDER --steps 9000`.

Reads the corpora in WORK_FOLDER/corpus and writes WORK_FOLDER/run/state.pt, which a later call goes on from. Windows
grow as training goes on (see `STAGES`). Speakers of `splits.py` are left out unless `--all-speakers` is given.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 PyTorch's own name for it
from torch.utils.data import DataLoader, IterableDataset

from training.corpus import Utterance, read_corpus
from training.grammar.prompts import plain
from training.model import Nano, Output, Shape
from training.splits import held_out_speakers
from training.vocabulary import CompactVocabulary, tokens_of
from training.windows import IGNORED, Batch, Kind, Windows

WEIGHTS = {
    ("en", "fsdd"): 0.10,
    ("en", "an4"): 0.17,
    ("en", "voices"): 0.06,
    ("en", "espeak"): 0.10,
    ("en", "flite"): 0.05,
    ("en", "festival"): 0.04,
    ("es", "espeak"): 0.16,
    ("de", "espeak"): 0.16,
    ("fr", "espeak"): 0.16,
}
"""How often an utterance of each language and source is drawn."""

SHORT, SINGLE, MIDDLE, WHOLE = (
    Kind(4, 32, 3), Kind(3, 40, 1), Kind(10, 12, 6), Kind(30, 4, 14, whole=True),
)  # fmt: skip
STAGES: tuple[tuple[float, tuple[tuple[Kind, float], ...]], ...] = (
    (0.12, ((SINGLE, 1.0),)),
    (0.45, ((SHORT, 0.8), (MIDDLE, 0.2))),
    (0.70, ((SHORT, 0.4), (MIDDLE, 0.5), (WHOLE, 0.1))),
    (1.00, ((SHORT, 0.25), (MIDDLE, 0.3), (WHOLE, 0.45))),
)
"""Up to which part of the training which kinds of windows are drawn how often."""


@dataclass(frozen=True)
class Losses:
    """The parts of the loss, each a mean over what it judges."""

    text: Tensor
    phonemes: Tensor
    ctc: Tensor
    focus: Tensor

    def total(self, progress: float) -> Tensor:
        """Hearing counts most at first, writing at last."""
        hearing = 1.0 - 0.7 * min(1.0, progress / 0.6)
        return self.text + hearing * (0.5 * self.phonemes + 0.3 * self.ctc) + 0.2 * self.focus


class _Stream(IterableDataset[Batch]):
    """Batches for the steps from `first` to `last`, the same for the same seed."""

    def __init__(self, windows: Windows, first: int, last: int, schedule: "Schedule") -> None:
        self.windows, self.first, self.last, self.schedule = windows, first, last, schedule

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            yield self.windows.batch(self.schedule.kind(step))


@dataclass(frozen=True)
class Schedule:
    """What each step does."""

    n_steps: int
    peak: float
    warm_up: int = 300
    tuning: bool = False
    """Only the last stage, at a falling rate: for going on from a trained model."""

    def kind(self, step: int) -> Kind:
        """The kind of window of this step, the same in every run."""
        progress = 1.0 if self.tuning else step / self.n_steps
        kinds = next(kinds for until, kinds in STAGES if progress <= until)
        place = (step * 0.6180339887) % 1  # golden ratio: evenly spread without a draw
        for kind, share in kinds:
            place -= share
            if place < 0:
                return kind
        return kinds[-1][0]

    def rate(self, step: int) -> float:
        """Learning rate: a short rise, a plateau's slow fall, down to nothing at the end."""
        rise = min(1.0, (step + 1) / self.warm_up)
        return self.peak * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.n_steps)))


def main() -> None:
    """Train, saving every few minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--run", default="run", help="name of the folder for the result")
    parser.add_argument(
        "--start-from", type=Path, help="state.pt of a trained model to go on from, with the last stage only"
    )
    parser.add_argument("--all-speakers", action="store_true")
    parser.add_argument("--state", type=int, default=192, help="width")
    parser.add_argument("--audio-layers", type=int, default=4)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop-at", type=int, help="stop early, as if interrupted (to try things out)")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    utterances = read_corpus(arguments.work / "corpus")
    strangers = held_out_speakers(utterance.about.speaker for utterance in utterances)
    known = [u for u in utterances if arguments.all_speakers or u.about.speaker not in strangers]
    vocabulary, phoneme_ids = inventories(utterances)
    heads = arguments.state // 32
    shape = Shape(arguments.state, heads, arguments.audio_layers, arguments.state, heads, arguments.text_layers)
    model = Nano(shape, n_used=vocabulary.n_used, n_unused=vocabulary.n_unused, n_phonemes=len(phoneme_ids)).to(
        arguments.device
    )
    schedule = Schedule(arguments.steps, arguments.rate, tuning=arguments.start_from is not None)
    folder = arguments.work / arguments.run
    folder.mkdir(exist_ok=True)
    optimizers = make_optimizers(model)
    first = 0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first = state["step"]
    elif arguments.start_from:
        model.load_state_dict(torch.load(arguments.start_from, weights_only=True)["model"])
    (folder / "inventory.json").write_text(
        json.dumps({"used_tokens": vocabulary.used_tokens, "phonemes": phoneme_ids, "shape": asdict(shape)})
    )
    print(
        f"{len(known)} of {len(utterances)} utterances, {vocabulary.n_used} tokens, {len(phoneme_ids)} phonemes, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters",
        flush=True,
    )
    windows = Windows(known, WEIGHTS, vocabulary, phoneme_ids, seed=[arguments.seed, first])
    last = min(arguments.steps, arguments.stop_at or arguments.steps)
    loader = DataLoader(_Stream(windows, first, last, schedule), batch_size=None, num_workers=1, prefetch_factor=6)
    probes = _probes(utterances, strangers, vocabulary, phoneme_ids)
    _train(model, optimizers, loader, schedule, first, folder, probes)


def inventories(utterances: Sequence[Utterance]) -> tuple[CompactVocabulary, dict[str, int]]:
    """Every token and every phoneme of the corpora; the phoneme 0 is silence."""
    texts = [text for u in utterances for text in (u.about.text, u.about.translation) if text]
    vocabulary = CompactVocabulary([])
    used = tokens_of(vocabulary.tokenizer, [*texts, *(plain(text) for text in texts)])
    names = {name for u in utterances for name in u.about.phonemes}
    names |= {name for u in utterances for _, name in u.about.phoneme_times}
    return CompactVocabulary(used), {name: index for index, name in enumerate(["", *sorted(names - {""})])}


def make_optimizers(model: Nano) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices (Jordan 2024), AdamW for the rest."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if "blocks" in name and parameter.ndim == 2 else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def losses(output: Output, batch: Batch) -> Losses:
    """Every part of the loss of a batch."""
    text = F.cross_entropy(output.logits.float(), batch.targets[batch.targets != IGNORED])
    phonemes = F.cross_entropy(
        output.phoneme_logits.flatten(0, 1).float(), batch.phonemes.flatten(), ignore_index=IGNORED
    )
    known = batch.ctc_lengths >= 0
    n_labels = batch.ctc_lengths[known]
    ctc = F.ctc_loss(
        output.ctc_logits[known].float().log_softmax(-1).transpose(0, 1),
        batch.ctc_targets[known],
        torch.full_like(n_labels, output.ctc_logits.shape[1]),
        n_labels,
        reduction="none",
        zero_infinity=True,
    )
    ctc = (ctc / n_labels.clamp(min=1)).sum() / known.sum().clamp(min=1)
    return Losses(text, phonemes, ctc, focus_loss(output.alignment, batch.focus))


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


def _train(
    model: Nano, optimizers: list[torch.optim.Optimizer], loader: Any, schedule: Schedule, first: int, folder: Path,
    probes: dict[str, Batch],
) -> None:  # fmt: skip
    device = next(model.parameters()).device
    begun = saved = time.monotonic()
    smooth: dict[str, float] = {}
    audio = 0.0
    for step, batch in enumerate(loader, first):
        batch = Batch(**{name: tensor.to(device) for name, tensor in vars(batch).items()})
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            output = model(batch.mel, batch.offsets, batch.tokens, batch.targets != IGNORED)
        parts = losses(output, batch)
        loss = parts.total(1.0 if schedule.tuning else step / schedule.n_steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        audio += batch.mel.shape[0] * batch.mel.shape[2] / 100
        for name, value in vars(parts).items():
            smooth[name] = 0.98 * smooth.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % 50 == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in smooth.items())
            elapsed = time.monotonic() - begun
            print(
                f"{step + 1} {elapsed:.0f}s {(step + 1 - first) / elapsed:.2f} steps/s {audio / elapsed:.0f}x {shown}",
                flush=True,
            )
        if (step + 1) % 250 == 0:
            print(
                "   " + " ".join(f"{name} {accuracy(model, probe):.3f}" for name, probe in probes.items()), flush=True
            )
        if time.monotonic() - saved > 240 or step + 1 == schedule.n_steps:
            _save(model, optimizers, step + 1, folder)
            saved = time.monotonic()
    _save(model, optimizers, step + 1, folder)


def _save(model: Nano, optimizers: list[torch.optim.Optimizer], step: int, folder: Path) -> None:
    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step}
    torch.save(state, folder / "state.partial")
    (folder / "state.partial").rename(folder / "state.pt")


def _probes(
    utterances: Sequence[Utterance], strangers: set[str], vocabulary: CompactVocabulary, phoneme_ids: dict[str, int]
) -> dict[str, Batch]:
    """A batch of short windows from strangers for each source that has them, and one of noise for their company."""
    held_out = [u for u in utterances if u.about.speaker in strangers or u.about.source == "noise"]
    kind = Kind(6, 48, 1, whole=True)
    return {
        source: Windows(held_out, {("en", source): 1.0}, vocabulary, phoneme_ids, seed=5).batch(kind)
        for source in ("fsdd", "an4")
    }


@torch.no_grad()
def accuracy(model: Nano, batch: Batch) -> float:
    """Share of text tokens that are predicted right, with the right ones before them."""
    device = next(model.parameters()).device
    judged = batch.targets != IGNORED
    output = model(batch.mel.to(device), batch.offsets.to(device), batch.tokens.to(device), judged.to(device))
    targets = batch.targets[judged]
    is_text = targets < model.decoder.used.shape[0]
    return float((output.logits.argmax(-1).cpu() == targets)[is_text].float().mean())


if __name__ == "__main__":
    main()
