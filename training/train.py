"""Train nano: `python -m training.train WORK_FOLDER --steps 9000`.

Reads the corpora in WORK_FOLDER/corpus and writes WORK_FOLDER/run/state.pt, which a later call goes on from. Windows
grow as training goes on (`schedule.STAGES`). Speakers of `splits.py` are left out unless `--all-speakers` is given.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, IterableDataset

from stagewhisper.errors import CheckpointError, OptionError
from training.batch import Batch
from training.command import run
from training.corpus import Utterance, read_corpus
from training.kinds import Kind
from training.losses import losses
from training.model import Nano, Shape
from training.pools import without_weight
from training.run_folder import new_model, resume, save_state, write_inventory
from training.schedule import WEIGHTS, Schedule
from training.splits import held_out_speakers
from training.vocabulary import IGNORED, CompactVocabulary, phoneme_ids_of, vocabulary_of
from training.warm_start import start_from
from training.windows import Windows

_AUDIO_HEAD_SIZE = 64  # of 30-second windows attention is the dearest part, and fewer heads make it cheaper
_TEXT_HEAD_SIZE = 32
_SAVE_EVERY = 240  # seconds
_SHOW_EVERY, _PROBE_EVERY = 50, 250  # steps
_PROBED = ("fsdd", "an4")


def main() -> None:
    """Train, saving every few minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--run", default="run", help="name of the folder for the result")
    parser.add_argument(
        "--start-from",
        type=Path,
        help="state.pt of a trained model, or a checkpoint's folder, to go on from with the last stage only",
    )
    parser.add_argument("--all-speakers", action="store_true")
    parser.add_argument("--state", type=int, default=192, help="width")
    parser.add_argument("--audio-layers", type=int, default=4)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop-at", type=int, help="stop early, as if interrupted (to try things out)")
    arguments = parser.parse_args()
    if arguments.start_from and not arguments.start_from.exists():  # said before the corpus is read
        raise CheckpointError(
            f"No state at {arguments.start_from}. Give a training's state.pt, or a checkpoint's folder."
        )
    shape = shape_of(arguments.state, n_audio_layer=arguments.audio_layers, n_text_layer=arguments.text_layers)
    torch.manual_seed(arguments.seed)
    utterances = read_corpus(arguments.work / "corpus")
    strangers = held_out_speakers(utterance.about.speaker for utterance in utterances)
    known = [u for u in utterances if arguments.all_speakers or u.about.speaker not in strangers]
    vocabulary, phoneme_ids = vocabulary_of(utterances), phoneme_ids_of(utterances)
    model = new_model(shape, vocabulary, phoneme_ids).to(arguments.device)
    schedule = Schedule(arguments.steps, arguments.rate, tuning=arguments.start_from is not None)
    optimizers = make_optimizers(model)
    folder = arguments.work / arguments.run
    folder.mkdir(exist_ok=True)
    first = resume(folder, model, optimizers, vocabulary, phoneme_ids)
    if first == 0 and arguments.start_from:
        start_from(arguments.start_from, model, vocabulary, phoneme_ids)
    write_inventory(folder, shape, vocabulary, phoneme_ids)
    print(
        f"{len(known)} of {len(utterances)} utterances, {vocabulary.n_used} tokens, {len(phoneme_ids)} phonemes, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters",
        flush=True,
    )
    for (language, source), n_left_out in without_weight(known, WEIGHTS).items():
        print(
            f"never drawn: {n_left_out} utterances of {source} in {language}, without weight in schedule.py", flush=True
        )
    last = min(arguments.steps, arguments.stop_at or arguments.steps)
    if first >= last:
        print(f"{folder / 'state.pt'} has {first} steps already.")
        return
    windows = Windows(known, WEIGHTS, vocabulary, phoneme_ids, seed=[arguments.seed, first])
    stream = _Stream(windows, first, last, schedule)
    batches = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=6)
    probes = _probes(utterances, strangers, vocabulary, phoneme_ids)
    _train(model, optimizers, batches, schedule, first, folder, probes)


def shape_of(n_state: int, *, n_audio_layer: int, n_text_layer: int) -> Shape:
    """The shape of a model `n_state` wide, with fewer and larger heads in the encoder than in the decoder.

    Raises:
        OptionError: the encoder's heads do not divide the width.
    """
    if n_state < _AUDIO_HEAD_SIZE or n_state % _AUDIO_HEAD_SIZE:
        raise OptionError(
            f"--state {n_state} cannot be divided into heads of {_AUDIO_HEAD_SIZE}. "
            f"Give a multiple of {_AUDIO_HEAD_SIZE}, such as 128 or 192."
        )
    return Shape(
        n_audio_state=n_state,
        n_audio_head=n_state // _AUDIO_HEAD_SIZE,
        n_audio_layer=n_audio_layer,
        n_text_state=n_state,
        n_text_head=n_state // _TEXT_HEAD_SIZE,
        n_text_layer=n_text_layer,
    )


class _Stream(IterableDataset[Batch]):
    """Batches for the steps from `first` to `last`, the same for the same seed."""

    def __init__(self, windows: Windows, first: int, last: int, schedule: Schedule) -> None:
        self.windows, self.first, self.last, self.schedule = windows, first, last, schedule

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            yield self.windows.batch(self.schedule.kind(step))


def make_optimizers(model: Nano) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices (Jordan 2024), AdamW for the rest; `Schedule.rate` sets their rate."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if "blocks" in name and parameter.ndim == 2 else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _train(
    model: Nano,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: Iterable[Batch],
    schedule: Schedule,
    first: int,
    folder: Path,
    probes: Mapping[str, Batch],
) -> None:
    """Take the steps from `first` on, one for each batch."""
    device = next(model.parameters()).device
    begun = saved = time.monotonic()
    smooth: dict[str, float] = {}
    seconds_heard, done = 0.0, first
    for step, drawn in enumerate(batches, first):
        batch = drawn.to(device)
        parts = _step(model, optimizers, batch, schedule, step)
        done = step + 1
        seconds_heard += batch.mel.shape[0] * batch.mel.shape[2] / 100
        for name, value in parts.items():
            smooth[name] = 0.98 * smooth.get(name, value) + 0.02 * value
        if done % _SHOW_EVERY == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in smooth.items())
            elapsed = time.monotonic() - begun
            speed = f"{(done - first) / elapsed:.2f} steps/s {seconds_heard / elapsed:.0f}x"
            print(f"{done} {elapsed:.0f}s {speed} {shown}", flush=True)
        if done % _PROBE_EVERY == 0:
            shown = " ".join(f"{name} {accuracy(model, probe):.3f}" for name, probe in probes.items())
            print(f"   {shown}", flush=True)
        if time.monotonic() - saved > _SAVE_EVERY:
            save_state(folder, model, optimizers, done)
            saved = time.monotonic()
    save_state(folder, model, optimizers, done)


def _step(
    model: Nano, optimizers: Sequence[torch.optim.Optimizer], batch: Batch, schedule: Schedule, step: int
) -> dict[str, float]:
    """Change `model` by one step; the parts of its loss before that."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
    with torch.autocast(batch.mel.device.type, dtype=torch.bfloat16):
        output = model(batch.mel, batch.offsets, batch.tokens, batch.targets != IGNORED)
    parts = losses(output, batch)
    parts.total(schedule.progress(step)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {name: value.item() for name, value in vars(parts).items()}


def _probes(
    utterances: Sequence[Utterance],
    strangers: set[str],
    vocabulary: CompactVocabulary,
    phoneme_ids: Mapping[str, int],
) -> dict[str, Batch]:
    """For each source that has strangers, a batch of short windows with what they say."""
    held_out = [u for u in utterances if u.about.speaker in strangers]
    noises = [u for u in utterances if u.about.source == "noise"]
    kind = Kind(6, 48, 1, whole=True)
    return {
        source: Windows([*held_out, *noises], {("en", source): 1.0}, vocabulary, phoneme_ids, seed=5).batch(kind)
        for source in _PROBED
        if any(utterance.about.source == source for utterance in held_out)
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
    run(main)
