"""One start of the JAX engine with a folder for compiled programs; run as a program of its own.

Prints one line of JSON: the programs that JAX found in the folder, those that it did not, and the transcript's tokens.
"""

import json
import sys
from pathlib import Path

import jax

from stagewhisper.engines.jax import JaxEngine
from tests.engines.jax_sample import MadeUp, decoded

if __name__ == "__main__":
    events: list[str] = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    engine = JaxEngine(MadeUp(), device="cpu", cache_dir=Path(sys.argv[1]))
    (result,) = decoded(engine, 1, sample_len=20)
    hits = events.count("/jax/compilation_cache/cache_hits")
    misses = events.count("/jax/compilation_cache/cache_misses")
    print(json.dumps({"hits": hits, "misses": misses, "tokens": result.tokens}))
