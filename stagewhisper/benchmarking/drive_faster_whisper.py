"""faster-whisper, through the calls that its own `transcribe` makes: features, `encode`, CTranslate2's `generate`."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from stagewhisper.arrays import Samples
from stagewhisper.benchmarking.driver import Decode, Loaded, foreign
from stagewhisper.benchmarking.task import CannotError, Task

_MOST_TOKENS = 224


def prepare(task: Task) -> None:
    """Import it."""
    del task
    foreign("faster_whisper.transcribe")


def load(task: Task) -> Loaded:
    """The model from a folder of CTranslate2's, whose weights are in the type wanted already.

    Raises:
        CannotError: CTranslate2 does not compute in that type there; it would take another one in silence.
    """
    faster_whisper, ctranslate2 = foreign("faster_whisper"), foreign("ctranslate2")
    device, _, index = task.device.partition(":")
    if device == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        raise CannotError("CTranslate2 sees no CUDA device")
    offered = sorted(ctranslate2.get_supported_compute_types(device))
    if task.dtype not in offered:
        raise CannotError(f"CTranslate2 does not compute in {task.dtype} on this {device}; it has {', '.join(offered)}")
    started = time.perf_counter()
    model = faster_whisper.WhisperModel(
        task.model,
        device=device,
        device_index=int(index or 0),
        compute_type=task.dtype,
        cpu_threads=task.threads or 0,
        num_workers=1,
        local_files_only=True,
    )
    return Loaded(_decoder(model, task), load=time.perf_counter() - started)


def _decoder(model: Any, task: Task) -> Decode:
    how, own = task.decoding, foreign("faster_whisper.transcribe")

    def decode(windows: Sequence[Samples], /, *, language: str) -> list[list[int]]:
        tokenizer = own.Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language)
        # padding=0: one window exactly, and no silence of 30 s behind it that would be computed and cut off again
        mel = np.stack([model.feature_extractor(samples, padding=0)[:, :3000] for samples in windows])
        results = model.model.generate(
            model.model.encode(own.get_ctranslate2_storage(mel), to_cpu=False),
            [model.get_prompt(tokenizer, [], without_timestamps=True)] * len(windows),
            beam_size=how.n_beams,
            patience=1,
            length_penalty=1,
            max_length=2 * (how.n_tokens or _MOST_TOKENS),  # it decodes half as many at the most
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=False,
            suppress_tokens=list(task.suppressed),
        )
        return [list(result.sequences_ids[0]) for result in results]

    return decode
