"""The JAX engine on an accelerator with the shapes of large-v3 and turbo: correct, and how far from the hardware?

Why: what a GPU or TPU does with these programs cannot be told from a processor, and such machines come and go. One call
does everything, and needs jax and numpy alone: no network, no checkpoint, none of the package's other dependencies.
How: random weights. First the device's own limits: the largest of a few square matrix products, and a copy. Then for
each model and batch size: compile and first run, and warm runs (median and 90th percentile) of the encoder and of a
greedy decoding of exactly 100 tokens with all of Whisper's filters. From these follow TFLOP/s of the encoder against
the product's, and the bytes that a step has to read at least against the copy's rate. Then, on a small model, logits
against NumPy's in every precision, and the loop on the device against one token at a time. Every measured row is
written at once, so that a run that is cut short leaves what it has.

    python benchmarks/gpu_jax.py [--models large-v3 turbo] [--batches 1 8 24 64] [--precision bf16] [--out FILE]
    python benchmarks/gpu_jax.py --models tiny --batches 1 2 --tokens 5 --repeats 2      a trial on the processor
"""

import argparse
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def _stand_in_for_jaxtyping() -> None:
    """Where jaxtyping is missing, annotations such as `Float[Array, "n"]` become the array's own type."""
    try:
        import jaxtyping  # noqa: F401
    except ModuleNotFoundError:
        import jax

        class Shaped:
            def __class_getitem__(cls, array_and_shape: tuple[type, str]) -> type:
                return array_and_shape[0]

        names = ("Bool", "Float", "Float32", "Int32", "Int64")
        module = types.ModuleType("jaxtyping")
        vars(module).update({"Array": jax.Array, **dict.fromkeys(names, Shaped)})
        sys.modules["jaxtyping"] = module


_stand_in_for_jaxtyping()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from report import circumstances  # noqa: E402

from stagewhisper.checkpoint import ModelDims  # noqa: E402
from stagewhisper.checkpoint.weight_names import weight_shapes  # noqa: E402
from stagewhisper.engines.generation import GenerationRules, TimestampRules  # noqa: E402
from stagewhisper.engines.jax import JaxEngine  # noqa: E402
from stagewhisper.engines.reference import ReferenceEngine  # noqa: E402

WINDOW = 30.0
"""Seconds."""


def dims(n_state: int, n_audio_layer: int, n_text_layer: int, n_mels: int = 80, n_vocab: int = 51_865) -> ModelDims:
    """A Whisper of this width and depth."""
    heads = n_state // 64
    audio = (n_mels, 1500, n_state, heads, n_audio_layer)
    return ModelDims(*audio, n_vocab=n_vocab, n_text_ctx=448, n_text_state=n_state, n_text_head=heads,
                     n_text_layer=n_text_layer)  # fmt: skip


MODELS = {
    "tiny": dims(384, 4, 4),
    "base": dims(512, 6, 6),
    "small": dims(768, 12, 12),
    "large-v3": dims(1280, 32, 32, n_mels=128, n_vocab=51_866),
    "turbo": dims(1280, 32, 4, n_mels=128, n_vocab=51_866),
}
SMALL = ModelDims(80, 50, 128, 2, 2, 51_865, 448, 128, 2, 2)
PROMPT = (50_258, 50_259, 50_359)
EOT, NO_SPEECH, NO_TIMESTAMPS, TIME_BEGIN = 50_257, 50_362, 50_363, 50_364


class MadeUp:
    """Random weights of unit-sized activations; one block of noise serves all, since only its size costs time."""

    def __init__(self, dims: ModelDims) -> None:
        self.dims = dims

    @property
    def weight_names(self) -> tuple[str, ...]:
        return tuple(weight_shapes(self.dims))

    @cached_property
    def _noise(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(1_000_003, np.float32)

    def weight(self, name: str) -> np.ndarray:
        shape = weight_shapes(self.dims)[name]
        noise = np.resize(self._noise, shape)
        if name.endswith(("ln.weight", "ln_post.weight")):
            return 1 + np.float32(0.1) * noise
        if name.endswith((".bias", "positional_embedding")):
            return np.float32(0.1) * noise
        if name == "decoder.token_embedding.weight":
            return noise * np.float32(2 / shape[1] ** 0.5)
        return noise * np.float32(noise[0].size ** -0.5)


def timed(run: Callable[[], Any]) -> float:
    """Seconds until the result is there."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - started


def repeated(run: Callable[[], Any], n: int) -> dict[str, Any]:
    """First run, and the median and 90th percentile of `n` more, in ms."""
    first = timed(run)
    times = sorted(timed(run) for _ in range(n))
    return {
        "first_ms": round(1000 * first, 2),
        "median_ms": round(1000 * statistics.median(times), 3),
        "p90_ms": round(1000 * times[min(n - 1, round(0.9 * (n - 1)))], 3),
    }


def limits(dtype: Any, n_repeats: int, *, on_cpu: bool) -> dict[str, float]:
    """What the device reaches: TFLOP/s of the best of a few square products, and GB/s of a copy, reads and writes."""
    multiply, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)
    best = 0.0
    for n in (1024,) if on_cpu else (4096, 8192, 16_384):
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        rate = 2 * n**3 / (repeated(lambda a=a: multiply(a, a), n_repeats)["median_ms"] / 1000)
        best = max(best, rate)
    x = jnp.zeros((2**24 if on_cpu else 2**30,), jnp.bfloat16)
    moved = 2 * x.nbytes / (repeated(lambda: copy(x), n_repeats)["median_ms"] / 1000)
    return {"product_tflops": round(best / 1e12, 2), "copy_gb_per_s": round(moved / 1e9, 1)}


def encoder_flops(dims: ModelDims, batch: int) -> float:
    """Multiplications and additions of the encoder's products, with those of the cross-attention's keys and values."""
    n, d = dims.n_audio_ctx, dims.n_audio_state
    convolutions = 2 * n * dims.n_mels * 3 * d + n * d * 3 * d
    layer = 12 * n * d * d + 2 * n * n * d
    return 2.0 * batch * (convolutions + dims.n_audio_layer * layer + dims.n_text_layer * 2 * n * d * d)


def step_bytes(dims: ModelDims, batch: int, item: int, n_past: int) -> float:
    """What a step must read at least: the decoder's weights, all keys and values of the audio, and those so far."""
    d = dims.n_text_state
    weights = dims.n_text_layer * (14 - 2) * d * d + dims.n_vocab * d  # cross-attention's keys and values are done
    cache = dims.n_text_layer * 2 * d * (dims.n_audio_ctx + n_past)
    return float(item * (weights + batch * cache))


def rules(n_tokens: int) -> GenerationRules:
    """Greedy with timestamps, and never an end."""
    return GenerationRules(
        eot=EOT, no_speech=NO_SPEECH, sot_index=0, n_steps=n_tokens, suppressed=(EOT, *PROMPT, NO_SPEECH),
        suppressed_first=(220, EOT), timestamps=TimestampRules(TIME_BEGIN, NO_TIMESTAMPS, 50),
    )  # fmt: skip


def measure(
    engine: JaxEngine, batch: int, *, n_tokens: int, n_repeats: int, device: dict[str, float]
) -> dict[str, Any]:
    """Times of one batch size, and what they mean."""
    mel = np.random.default_rng(1).standard_normal((batch, engine.dims.n_mels, 3000)).astype(np.float32)
    prompt = np.tile(np.array(PROMPT), (batch, 1))
    before = sum(engine.n_compiled.values())
    encoding = repeated(lambda: engine.encode(mel).cross, n_repeats)
    features = engine.encode(mel)
    decoding = repeated(lambda: engine.generate(features, prompt, rules(n_tokens)).tokens, n_repeats)
    short = repeated(lambda: engine.generate(features, prompt, rules(1)).tokens, n_repeats)
    n_chosen = engine.generate(features, prompt, rules(n_tokens)).tokens.shape[1]
    step_ms = (decoding["median_ms"] - short["median_ms"]) / max(n_tokens - 1, 1)
    tflops = encoder_flops(engine.dims, batch) / encoding["median_ms"] / 1e9
    item = engine._weights["decoder"]["embedding"].dtype.itemsize
    floor_ms = step_bytes(engine.dims, batch, item, n_tokens // 2) / device["copy_gb_per_s"] / 1e6
    total = (encoding["median_ms"] + decoding["median_ms"]) / 1000
    return {
        "batch": batch,
        "encode": encoding,
        "generate": decoding,
        "prompt_ms": short["median_ms"],
        "tokens": n_chosen,
        "step_ms": round(step_ms, 4),
        "tokens_per_s": round(batch * n_tokens / (decoding["median_ms"] / 1000), 1),
        "times_real_time": round(batch * WINDOW / total, 1),
        "encoder_tflops": round(tflops, 2),
        "encoder_share_of_product": round(tflops / device["product_tflops"], 3),
        "step_floor_ms": round(floor_ms, 4),
        "step_share_of_floor": round(floor_ms / step_ms, 3),
        "programs_compiled": sum(engine.n_compiled.values()) - before,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int | None:
    """The most memory that was in use on the device so far, where it says so."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def correctness(device: str | None) -> dict[str, Any]:
    """A small model: differences of logits from NumPy's in float32, and the device's loop against single steps."""
    source = MadeUp(SMALL)
    rng = np.random.default_rng(2)
    mel = rng.standard_normal((2, SMALL.n_mels, 2 * SMALL.n_audio_ctx)).astype(np.float32)
    tokens = rng.integers(0, SMALL.n_vocab, (2, 40))
    reference = ReferenceEngine(source)  # type: ignore[arg-type]
    expected = reference.decode_step(tokens, reference.start(reference.encode(mel)), logit_positions=range(40)).logits
    found: dict[str, Any] = {"largest_logit": round(float(np.abs(expected).max()), 2)}
    for precision in JaxEngine.precisions:
        engine = JaxEngine(source, device=device, precision=precision)
        features = engine.encode(mel)
        logits = engine.decode_step(tokens, engine.start(features), logit_positions=range(40)).logits
        found[f"{precision}_difference"] = float(np.abs(logits - expected).max())
        found[f"{precision}_loop_equals_steps"] = loop_equals_steps(engine, features)
    return found


def loop_equals_steps(engine: JaxEngine, features: Any, n_tokens: int = 30) -> bool:
    """Whether `generate` without filters chooses what single steps choose."""
    prompt = np.tile(np.array(PROMPT), (2, 1))
    free = GenerationRules(eot=EOT, no_speech=NO_SPEECH, sot_index=0, n_steps=n_tokens, suppressed=(EOT,))
    found = engine.generate(features, prompt, free).tokens
    output = engine.decode_step(prompt, engine.start(features))
    chosen = []
    for _ in range(n_tokens):
        logits = output.logits[:, -1].copy()
        logits[:, EOT] = -np.inf
        chosen.append(logits.argmax(axis=1))
        output = engine.decode_step(chosen[-1][:, None], output.cache)
    return bool((found == np.stack(chosen, axis=1)).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["large-v3", "turbo"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 24, 64])
    parser.add_argument("--precision", choices=JaxEngine.precisions, default="bf16")
    parser.add_argument("--device", help="as the engine has it: gpu, tpu, tpu:4x2; the best there is by default")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the JSON, rewritten after every row")
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "n_devices": len(jax.devices()),
        "jax": jax.__version__,
        "precision": arguments.precision,
        "tokens": arguments.tokens,
        "rows": [],
    }
    on_cpu = jax.devices()[0].platform == "cpu"
    dtype = {"fp32": jnp.float32, "fp16": jnp.float16, "bf16": jnp.bfloat16}[arguments.precision]
    found["limits"] = limits(dtype, arguments.repeats, on_cpu=on_cpu)
    print(json.dumps(found), flush=True)
    for name in arguments.models:
        started = time.perf_counter()
        engine = JaxEngine(MadeUp(MODELS[name]), device=arguments.device, precision=arguments.precision)
        jax.block_until_ready(engine._weights)
        load_s = round(time.perf_counter() - started, 2)
        for batch in arguments.batches:
            row: dict[str, Any] = {"model": name, "load_s": load_s, "batch": batch, "flash": engine._how.flash}
            try:
                row |= measure(
                    engine, batch, n_tokens=arguments.tokens, n_repeats=arguments.repeats, device=found["limits"]
                )
            except jax.errors.JaxRuntimeError as error:  # out of memory, say: the other rows are still worth having
                row["error"] = str(error).splitlines()[0]
            keep(found, row, arguments.out)
        del engine
    found["correctness"] = correctness(arguments.device)
    keep(found, None, arguments.out)


def keep(found: dict[str, Any], row: dict[str, Any] | None, out: Path | None) -> None:
    """Show what is new, and write all there is."""
    if row is not None:
        found["rows"].append(row)
    print(json.dumps(row or found["correctness"]), flush=True)
    if out is not None:
        record = {"benchmark": "gpu_jax", "figures": found, **circumstances()}
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
