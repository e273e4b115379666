"""openai-whisper on PyTorch, through its own spectrogram and its own `decode`."""

import time
from collections.abc import Sequence
from typing import Any

from stagewhisper.arrays import Samples
from stagewhisper.benchmarking.driver import Decode, Loaded, foreign, torch_on
from stagewhisper.benchmarking.task import CannotError, Task


def prepare(task: Task) -> None:
    """Import it."""
    torch_on(task.device, threads=task.threads)
    foreign("whisper")


def load(task: Task) -> Loaded:
    """The model from a `.pt` file.

    Raises:
        CannotError: beams of several windows were asked for: it repeats the tokens of a window for its beams, but not
            the window's audio features.
    """
    if task.batch > 1 and task.decoding.n_beams > 1:
        raise CannotError("openai-whisper searches with beams in one window at a time")
    whisper, torch = foreign("whisper"), foreign("torch")
    started = time.perf_counter()
    model = whisper.load_model(task.model, device=task.device)
    if task.dtype == "float16":
        _to_half(model, whisper, torch)
    return Loaded(_decoder(model, whisper, torch, task), load=time.perf_counter() - started)


def _to_half(model: Any, whisper: Any, torch: Any) -> None:
    """Weights in the type in which it computes, once; by itself it would convert them at every call.

    Layer norms stay in float32, as it computes them.
    """
    for module in model.modules():
        if not isinstance(module, whisper.model.LayerNorm):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(parameter.half(), requires_grad=False))


def _decoder(model: Any, whisper: Any, torch: Any, task: Task) -> Decode:
    def decode(windows: Sequence[Samples], /, *, language: str) -> list[list[int]]:
        mel = [whisper.log_mel_spectrogram(samples, model.dims.n_mels, device=task.device) for samples in windows]
        with torch.inference_mode():
            options = _options(whisper, task, language=language)
            return [list(result.tokens) for result in whisper.decode(model, torch.stack(mel), options)]

    return decode


def _options(whisper: Any, task: Task, *, language: str) -> Any:
    how = task.decoding
    return whisper.DecodingOptions(
        language=language,
        sample_len=how.n_tokens,
        beam_size=how.n_beams if how.n_beams > 1 else None,
        without_timestamps=True,
        suppress_tokens=list(task.suppressed),
        suppress_blank=False,
        fp16=task.dtype == "float16",
    )
