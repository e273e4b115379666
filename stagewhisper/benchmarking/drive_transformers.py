"""transformers on PyTorch, with its default attention (`sdpa`), through its own extractor and its own `generate`."""

import time
from collections.abc import Sequence
from typing import Any

from stagewhisper.arrays import Samples
from stagewhisper.benchmarking.driver import N_PROMPT, Decode, Loaded, foreign, torch_on
from stagewhisper.benchmarking.task import Task


def prepare(task: Task) -> None:
    """Import it, with the classes that it imports on first use."""
    torch_on(task.device, threads=task.threads)
    transformers = foreign("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    _ = transformers.WhisperForConditionalGeneration, transformers.WhisperFeatureExtractor


def load(task: Task) -> Loaded:
    """The model from a folder; what is suppressed is the task's, as with all other programs."""
    transformers, torch = foreign("transformers"), foreign("torch")
    started = time.perf_counter()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(task.model, local_files_only=True)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(
        task.model, dtype=getattr(torch, task.dtype), local_files_only=True
    )
    model = model.to(task.device).eval()
    model.generation_config.suppress_tokens = list(task.suppressed) or None
    model.generation_config.begin_suppress_tokens = None
    return Loaded(_decoder(extractor, model, torch, task), load=time.perf_counter() - started)


def _decoder(extractor: Any, model: Any, torch: Any, task: Task) -> Decode:
    config, how = model.generation_config, task.decoding
    is_multilingual = bool(getattr(config, "is_multilingual", True))
    n_tokens = how.n_tokens or model.config.max_target_positions // 2

    def decode(windows: Sequence[Samples], /, *, language: str) -> list[list[int]]:
        mel = extractor(list(windows), sampling_rate=16_000, return_tensors="pt").input_features
        choice = {"language": language, "task": "transcribe"} if is_multilingual else {}
        with torch.inference_mode():
            found = model.generate(
                mel.to(task.device, model.dtype),
                num_beams=how.n_beams,
                do_sample=False,
                max_new_tokens=n_tokens,
                **choice,
            )
        return [_tokens(row.tolist(), start=config.decoder_start_token_id, eot=config.eos_token_id) for row in found]

    return decode


def _tokens(row: list[int], *, start: int, eot: int) -> list[int]:
    """The text's tokens: some releases return the prompt before them, and all fill rows up with ends."""
    if row and row[0] == start:
        row = row[N_PROMPT:]
    return row[: row.index(eot)] if eot in row else row
