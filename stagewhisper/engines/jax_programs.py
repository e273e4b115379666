"""The compiled programs of a JAX engine, how often they have been compiled, and where compiled ones are kept."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from stagewhisper.engines.jax_generation import generate, go_on
from stagewhisper.engines.jax_model import (
    CACHE_AXES,
    Arithmetic,
    KeysAndValues,
    audio_features,
    decode,
    encode,
    logits_of,
    project,
)
from stagewhisper.engines.jax_weights import Weights


class Programs:
    """Functions of arrays. Each is compiled when it is first called with arrays of new shapes."""

    def __init__(self, how: Arithmetic) -> None:
        self.n_compiled: Counter[str] = Counter()
        """How often each has been compiled, by its name."""
        self._counting = threading.Lock()
        self.encode = self._program("encode", partial(encode, how))
        self.audio_features = self._program("audio_features", partial(_audio_features, how))
        self.project = self._program("project", partial(project, how))
        self.decode = self._program("decode", partial(_decode_logits, how), donated=2)
        self.reorder = self._program("reorder", partial(_reorder, how))
        self.generate = self._program("generate", partial(generate, how))
        self.go_on = self._program("go_on", partial(go_on, how), donated=2)

    def _program(self, name: str, function: Callable[..., Any], *, donated: int | None = None) -> Callable[..., Any]:
        """`function` compiled; the argument at the place `donated` is given up, and its memory used for the result."""

        def traced(*arguments: Any) -> Any:
            with self._counting:
                self.n_compiled[name] += 1  # this line runs when JAX reads the function, which it does to compile it
            return function(*arguments)

        traced.__name__ = traced.__qualname__ = f"stagewhisper_{name}"
        return jax.jit(traced, donate_argnums=() if donated is None else donated)


def keep_compiled(folder: Path) -> None:
    """Let later processes find what JAX compiles from now on.

    JAX has one such folder for a process: if it has been told of one already, that one stays.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # whoever has compiled before made it decide that there is no folder


def _audio_features(how: Arithmetic, weights: Weights, mel: jax.Array) -> jax.Array:
    """The encoder's output, in float32 for whoever goes on with it."""
    return audio_features(how, weights, mel).astype(jax.numpy.float32)


def _decode_logits(
    how: Arithmetic,
    weights: Weights,
    cross: KeysAndValues,
    cache: KeysAndValues,
    tokens: jax.Array,
    n_past: jax.Array,
    positions: jax.Array,
) -> tuple[jax.Array, KeysAndValues]:
    """Logits at `positions` of the new tokens, and the cache with these in it."""
    x, cache = decode(how, weights, cross, cache, tokens, n_past)
    return logits_of(how, weights, x[:, positions]), cache


def _reorder(how: Arithmetic, cache: KeysAndValues, rows: jax.Array) -> KeysAndValues:
    picked: KeysAndValues = jax.tree.map(lambda one: how.placement.constrain(one[rows], *CACHE_AXES), cache)
    return picked
