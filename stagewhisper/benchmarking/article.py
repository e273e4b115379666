"""The design of an article that compared Whisper JAX with PyTorch, to be repeated on any machine.

One long recording and 100 short ones; float32 and bfloat16; 16 windows side by side, and one after the other; the first
run, the second, and as many more as it takes to know the spread. What the article did not do: loading, compiling and
running are timed apart, and all programs decode in the same way.
"""

from stagewhisper.benchmarking.windows import N_SAMPLES

ENGINES = ("jax", "pytorch", "transformers")
DTYPES = ("float32", "bfloat16")
BATCHES = (16, 1)
N_UTTERANCES = 100
SECONDS = 16 * N_SAMPLES / 16_000
"""The long recording fills one batch."""
