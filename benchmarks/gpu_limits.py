"""What a device can do at best, and what Whisper's parts need at least."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from stagewhisper.checkpoint import ModelDims


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def repeated(run: Callable[[], Any], n: int, device: torch.device) -> dict[str, float]:
    """First run, and the median and 90th percentile of `n` more, in ms."""
    times = []
    for _ in range(n + 1):
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        times.append(1000 * (time.perf_counter() - started))
    warm = sorted(times[1:])
    return {
        "first_ms": round(times[0], 2),
        "median_ms": round(statistics.median(warm), 3),
        "p90_ms": round(warm[round(0.9 * (n - 1))], 3),
    }


@torch.inference_mode()
def limits(device: torch.device, dtype: torch.dtype, n_repeats: int) -> dict[str, float]:
    """TFLOP/s of the best of a few square products, and GB/s of a copy, reads and writes counted."""
    is_small = device.type == "cpu"
    best = 0.0
    for n in (1024,) if is_small else (4096, 8192, 16_384):
        a = torch.randn(n, n, device=device, dtype=dtype)
        for _ in range(3):
            torch.mm(a, a)
        inner = 1 if is_small else 10
        found = repeated(lambda a=a, inner=inner: [torch.mm(a, a) for _ in range(inner)], n_repeats, device)
        best = max(best, inner * 2 * n**3 / found["median_ms"] / 1e9)
        del a
    x = torch.zeros(2**24 if is_small else 2**30, device=device, dtype=torch.bfloat16)
    y = torch.empty_like(x)
    moved = 2 * x.nbytes / repeated(lambda: y.copy_(x), n_repeats, device)["median_ms"] / 1e6
    return {"product_tflops": round(best, 4), "copy_gb_per_s": round(moved, 1)}


def encoder_flops(dims: ModelDims, n_audio: int) -> float:
    """Multiplications and additions of the encoder's products, without the decoder's keys and values of the audio."""
    n, d = dims.n_audio_ctx, dims.n_audio_state
    convolutions = 2 * n * dims.n_mels * 3 * d + n * d * 3 * d
    return 2.0 * n_audio * (convolutions + dims.n_audio_layer * (12 * n * d * d + 2 * n * n * d))


def step_bytes(dims: ModelDims, n_audio: int, *, item_size: int, n_past: int) -> float:
    """What a step must read at least: the decoder's weights, all keys and values of the audio, and those so far."""
    d = dims.n_text_state
    weights = dims.n_text_layer * 14 * d * d + dims.n_vocab * d  # cross-attention's keys and values are there already
    cache = dims.n_text_layer * 2 * d * (dims.n_audio_ctx + n_past)
    return float(item_size * (weights + n_audio * cache))
