"""What two small choices in decoding cost: picking the best continuations of a beam, and drawing Gumbel noise.

Why: comments and decision pages lean on these figures.
How: medians of repeated calls on rows of 51,865 values, one thread. Rows are ordinary (normal values), or filtered as
the timestamp rules leave them (all but 1,501 are -inf). A draw for one sequence stands beside a step of the smallest
model.

    python benchmarks/choices.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from report import store

import stagewhisper
from stagewhisper.decoding.beam_search import top
from stagewhisper.hub.known import EMBEDDED

N_VOCAB, N_BEST, N_REPEATS = 51_865, 6, 30


def median_ms(run: Callable[[], object]) -> float:
    """Median time of a call after a warm-up."""
    run()
    times = []
    for _ in range(N_REPEATS):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 3)


def noise(rng: np.random.Generator) -> np.ndarray:
    exponential = rng.standard_exponential((1, N_VOCAB), dtype=np.float32)
    return -np.log(np.maximum(exponential, np.finfo(np.float32).tiny))


def main() -> None:
    rng = np.random.default_rng(0)
    ordinary = rng.standard_normal(N_VOCAB).astype(np.float32)
    filtered = ordinary.copy()
    filtered[:-1501] = -np.inf
    only_text = ordinary.copy()
    only_text[-1501:] = -np.inf
    figures: dict[str, float] = {}
    for name, row in (("ordinary", ordinary), ("only timestamps left", filtered), ("only text left", only_text)):
        figures[f"argpartition, {name}"] = median_ms(lambda row=row: np.argpartition(row, -N_BEST)[-N_BEST:])
        figures[f"top, {name}"] = median_ms(lambda row=row: top(row, N_BEST))
    figures["Gumbel noise for one sequence"] = median_ms(lambda: noise(rng))
    engine = stagewhisper.load(EMBEDDED, threads=1).engine
    cache = engine.start(engine.encode(np.zeros((1, 80, 3000), np.float32)))
    cache = engine.decode_step(np.full((1, 50), 1000), cache).cache
    figures[f"step of {EMBEDDED}, 50 tokens in the cache"] = median_ms(
        lambda: engine.decode_step(np.array([[1000]]), cache)
    )
    for name, value in figures.items():
        print(f"{name:<42} {value:>8.3f} ms")
    store("choices", figures)


if __name__ == "__main__":
    main()
