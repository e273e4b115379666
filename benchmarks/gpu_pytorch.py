"""The PyTorch engine on a GPU with the shapes of large-v3 and turbo: correct, how fast, and how far from the hardware?

Why: what a GPU does cannot be told from a processor, and such machines come and go. One call does everything, and needs
torch and numpy alone; transformers and openai-whisper are measured beside it where they are installed. No network, no
checkpoint, none of the package's other dependencies.
How: random weights made on the device. First its own limits: the best of a few square products, and a copy. Then for
each model, type and batch size, in one process, one after the other: the encoder; a whole window, which is the encoder
and exactly 100 greedy tokens; of ours also a step, by the difference between 100 tokens and two. First run, then median
and 90th percentile of warm runs. From these follow the encoder's TFLOP/s against the product's, a step against the time
in which the copy's rate brings the bytes that it must read, and the speed against each rival's. Before all that, on a
small model: logits of the device against the CPU's in every type, recorded steps against the loop on the host, beams.
Every row is written at once, so that a run that is cut short leaves what it has.

    python benchmarks/gpu_pytorch.py [--models large-v3 turbo] [--batches 1 8 24 64] [--dtypes fp16 bf16] [--out FILE]
    python benchmarks/gpu_pytorch.py --device cpu --models trial --batches 1 2 --dtypes fp32 --tokens 5 --repeats 2
"""

import argparse
import gc
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))


def _stand_in_for_jaxtyping() -> None:
    """Where jaxtyping is missing, annotations such as `Float[Tensor, "n"]` become the array's own type."""
    try:
        import jaxtyping  # noqa: F401
    except ModuleNotFoundError:

        class Shaped:
            def __class_getitem__(cls, array_and_shape: tuple[type, str]) -> type:
                return array_and_shape[0]

        module = types.ModuleType("jaxtyping")
        vars(module).update(dict.fromkeys(("Bool", "Float", "Float32", "Int32", "Int64"), Shaped))
        sys.modules["jaxtyping"] = module


_stand_in_for_jaxtyping()

from gpu_limits import encoder_flops, limits, repeated, step_bytes  # noqa: E402
from gpu_rivals import RIVALS  # noqa: E402
from report import circumstances  # noqa: E402

from stagewhisper.checkpoint import ModelDims  # noqa: E402
from stagewhisper.checkpoint.weight_names import weight_shapes  # noqa: E402
from stagewhisper.engines.generation import GenerationRules, TimestampRules  # noqa: E402
from stagewhisper.engines.pytorch_device import DeviceModel  # noqa: E402
from stagewhisper.engines.pytorch_devices import DTYPES  # noqa: E402
from stagewhisper.engines.pytorch_weights import Weights, pack_weights  # noqa: E402

MODELS = {
    "large-v3": ModelDims(128, 1500, 1280, 20, 32, 51_866, 448, 1280, 20, 32),
    "turbo": ModelDims(128, 1500, 1280, 20, 32, 51_866, 448, 1280, 20, 4),
    "tiny": ModelDims(80, 1500, 384, 6, 4, 51_865, 448, 384, 6, 4),
    "base": ModelDims(80, 1500, 512, 8, 6, 51_865, 448, 512, 8, 6),
    "small": ModelDims(80, 1500, 768, 12, 12, 51_865, 448, 768, 12, 12),
    "trial": ModelDims(80, 1500, 64, 1, 1, 51_865, 448, 64, 1, 1),
}
SMALL = ModelDims(80, 100, 256, 4, 3, 51_865, 448, 256, 4, 3)
PROMPT = (50_258, 50_259, 50_359, 50_363)  # start, English, transcribe, no timestamps
EOT, NO_SPEECH, NO_TIMESTAMPS, TIME_BEGIN = 50_257, 50_362, 50_363, 50_364
FREE = GenerationRules(eot=EOT, no_speech=NO_SPEECH, sot_index=0, n_steps=0, suppressed=(EOT,))
"""What the rivals do: any token but the end."""


def random_weights(dims: ModelDims, *, device: torch.device, dtype: torch.dtype) -> Weights:
    """Weights of unit-sized activations, made on the host for small models, so that all devices get the same."""
    origin = torch.device("cpu") if dims is SMALL else device
    generator = torch.Generator(origin).manual_seed(0)
    shapes = weight_shapes(dims)

    def read(name: str) -> torch.Tensor:
        shape = shapes[name]
        noise = torch.randn(shape, generator=generator, device=origin)
        if name.endswith(("ln.weight", "ln_post.weight")):
            noise = 1 + 0.1 * noise
        elif name.endswith((".bias", "positional_embedding")):
            noise = 0.1 * noise
        elif name == "decoder.token_embedding.weight":
            noise = noise * (2 / shape[1] ** 0.5)
        else:
            noise = noise * noise[0].numel() ** -0.5
        return noise.to(device, dtype)

    return pack_weights(dims, read)


def rules(n_tokens: int, *, with_timestamps: bool = False) -> GenerationRules:
    """Greedy, never an end; with timestamps, all of Whisper's filters."""
    if not with_timestamps:
        return GenerationRules(**{**vars(FREE), "n_steps": n_tokens})
    return GenerationRules(
        eot=EOT,
        no_speech=NO_SPEECH,
        sot_index=0,
        n_steps=n_tokens,
        suppressed=(EOT, *PROMPT, NO_SPEECH),
        suppressed_first=(220, EOT),
        timestamps=TimestampRules(TIME_BEGIN, NO_TIMESTAMPS, 50),
    )


def measure_ours(
    weights: Weights, mel: torch.Tensor, *, n_tokens: int, n_repeats: int, is_compiled: bool, best: dict[str, float]
) -> dict[str, Any]:
    """Times of one batch, and what they mean."""
    model, device, dims = DeviceModel(weights, is_compiled=is_compiled), weights.device, weights.dims
    n_audio, spectrogram = len(mel), mel.numpy()
    on_device = mel.to(device, weights.dtype)
    prompt = np.tile(np.array(PROMPT, np.int64), (n_audio, 1))

    def window(n: int, *, with_timestamps: bool = False) -> Callable[[], Any]:
        work = rules(n, with_timestamps=with_timestamps)
        return lambda: model.generate(model.encode(spectrogram), prompt, work)

    with torch.inference_mode():
        encoder = repeated(lambda: model._encode(weights, on_device), n_repeats, device)
    whole = repeated(window(n_tokens), n_repeats, device)
    short = repeated(window(2), n_repeats, device)
    filtered = repeated(window(n_tokens, with_timestamps=True), n_repeats, device)
    n_chosen = window(n_tokens)().tokens.shape[1]
    step = (whole["median_ms"] - short["median_ms"]) / max(n_tokens - 2, 1)
    tflops = encoder_flops(dims, n_audio) / encoder["median_ms"] / 1e9
    floor = step_bytes(dims, n_audio, item_size=weights.dtype.itemsize, n_past=n_tokens // 2) / best["copy_gb_per_s"]
    return {
        "encode": encoder,
        "window": whole,
        "window_all_filters": filtered,
        "tokens": n_chosen,
        "step_ms": round(step, 4),
        "step_floor_ms": round(floor / 1e6, 4),
        "step_share_of_floor": round(floor / 1e6 / step, 3) if step > 0 else None,
        "encoder_tflops": round(tflops, 2),
        "encoder_share_of_product": round(tflops / best["product_tflops"], 3),
        "times_real_time": round(30_000 * n_audio / whole["median_ms"], 1),
    }


def measure_rival(
    name: str, dims: ModelDims, mel: torch.Tensor, *, device: str, dtype: torch.dtype, n_tokens: int, n_repeats: int
) -> dict[str, Any]:
    """A rival's encoder and whole window, or why there is none."""
    try:
        runs = RIVALS[name](dims, device=device, dtype=dtype, prompt=PROMPT, eot=EOT, n_tokens=n_tokens)
    except ModuleNotFoundError as error:
        return {"left_out": f"{error.name} is not installed"}
    where = torch.device(device)
    return {part: repeated(lambda run=run: run(mel), n_repeats, where) for part, run in runs.items()}


def correctness(device: torch.device) -> dict[str, Any]:
    """A small model: logits against the CPU's, recorded steps against the host's loop, beams that move."""
    rng = np.random.default_rng(2)
    mel = rng.standard_normal((2, SMALL.n_mels, 2 * SMALL.n_audio_ctx)).astype(np.float32)
    tokens = rng.integers(0, SMALL.n_vocab, (6, 70))
    exact = DeviceModel(random_weights(SMALL, device=torch.device("cpu"), dtype=torch.float32))
    expected = forced_logits(exact, mel, tokens)
    found: dict[str, Any] = {"largest_logit": round(float(np.abs(expected).max()), 2)}
    for name, dtype in DTYPES.items():
        weights = random_weights(SMALL, device=device, dtype=dtype)
        model, plain = DeviceModel(weights, has_fixed_steps=True), DeviceModel(weights, has_fixed_steps=False)
        found[f"{name}_difference"] = float(np.abs(forced_logits(model, mel, tokens) - expected).max())
        prompt = np.tile(np.array(PROMPT, np.int64), (2, 1))
        for work in (rules(70), rules(70, with_timestamps=True)):
            kind = "filters" if work.timestamps else "free"
            first = plain.generate(plain.encode(mel), prompt, work)
            for _ in range(2):  # recorded, and replayed
                again = model.generate(model.encode(mel), prompt, work)
            share = float((first.tokens == again.tokens).all(axis=1).mean())
            found[f"{name}_{kind}_windows_equal_to_unrecorded"] = share
    return found


def forced_logits(model: DeviceModel, mel: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Logits after a prompt and single steps, in groups of three beams that change places."""
    cache = model.start(model.encode(mel))
    _, cache = model.decode_step(tokens[::3, :4], cache, logit_positions=(-1,))
    cache = model.reorder(cache, [0, 0, 0, 1, 1, 1])
    logits = []
    for position in range(4, tokens.shape[1]):
        one, cache = model.decode_step(tokens[:, position : position + 1], cache, logit_positions=(-1,))
        cache = model.reorder(cache, [2, 0, 1, 3, 3, 5] if position % 9 == 0 else [0, 1, 2, 3, 4, 5])
        logits.append(one)
    return np.concatenate(logits, axis=1)


def rows(
    arguments: argparse.Namespace, best: dict[str, dict[str, float]], keep: Callable[[dict[str, Any]], None]
) -> None:
    """Every combination, those of one model and type with the same weights."""
    device = torch.device(arguments.device)
    for name in arguments.models:
        for dtype in arguments.dtypes:
            for batch in arguments.batches:
                row: dict[str, Any] = {"model": name, "dtype": dtype, "batch": batch}
                mel = torch.randn(batch, MODELS[name].n_mels, 3000, generator=torch.Generator().manual_seed(1))
                for system in (
                    "stagewhisper",
                    *(["stagewhisper, compiled"] if arguments.compiled else []),
                    *arguments.rivals,
                ):
                    row[system] = attempt(system, name, dtype, mel, device, arguments, best[dtype])
                compare(row)
                keep(row)


def attempt(
    system: str,
    name: str,
    dtype: str,
    mel: torch.Tensor,
    device: torch.device,
    arguments: argparse.Namespace,
    best: dict[str, float],
) -> dict[str, Any]:
    """What one system gives, with the device's memory to itself; a failure is a result too."""
    torch.compiler.reset()  # it counts what it has compiled, and gives up on new shapes after some
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    how = {"n_tokens": arguments.tokens, "n_repeats": arguments.repeats}
    try:
        if system.startswith("stagewhisper"):
            weights = random_weights(MODELS[name], device=device, dtype=DTYPES[dtype])
            found = measure_ours(weights, mel, is_compiled=system.endswith("compiled"), best=best, **how)
        else:
            found = measure_rival(system, MODELS[name], mel, device=str(device), dtype=DTYPES[dtype], **how)
    except Exception as error:  # noqa: BLE001 out of memory, say: the other rows are still worth having
        found = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    if device.type == "cuda":
        found["peak_gb"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    weights = None
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def compare(row: dict[str, Any]) -> None:
    """Adds how many times faster than each rival ours is, for whole windows and for the encoder."""
    ours = row["stagewhisper"]
    for name in RIVALS:
        for part in ("window", "encode"):
            if part in ours and part in row.get(name, {}):
                ratio = row[name][part]["median_ms"] / ours[part]["median_ms"]
                row[f"{part}_times_faster_than_{name}"] = round(ratio, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["turbo", "large-v3"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 24, 64])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp16", "bf16"])
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--compiled", action="store_true", help="measure ours through torch.compile too")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the JSON, rewritten after every row")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "tokens": arguments.tokens,
        "rows": [],
    }

    def keep(row: dict[str, Any]) -> None:
        if "model" in row:
            figures["rows"].append(row)
        else:
            figures.update(row)
        print(json.dumps(row), flush=True)
        if arguments.out is not None:
            record = {"benchmark": "gpu_pytorch", "figures": figures, **circumstances()}
            arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    keep({"correctness": correctness(device)})
    best = {name: limits(device, DTYPES[name], arguments.repeats) for name in arguments.dtypes}
    keep({"limits": best})
    rows(arguments, best, keep)


if __name__ == "__main__":
    main()
