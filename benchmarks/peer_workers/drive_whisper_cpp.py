"""whisper.cpp through pywhispercpp's bindings, a whole window in one call of `whisper_full`.

Its beams share the encoder's keys and values; it has no batches of windows.
"""

import time
from collections.abc import Sequence
from typing import Any

import _pywhispercpp as cpp
from measuring import AsWhole, CannotError, Program, Samples, Search, TokenLists

PACKAGES = ("pywhispercpp",)


def load(model: str, *, threads: int) -> Program:
    context = cpp.whisper_init_from_file_with_params(model, cpp.whisper_context_default_params())

    def transcribe(windows: Sequence[Samples], how: Search) -> TokenLists:
        if cpp.whisper_full(context, _settings(how, threads), _only(windows), len(windows[0])) != 0:
            raise RuntimeError(f"whisper_full failed on {model}")
        n_segments = cpp.whisper_full_n_segments(context)
        tokens = [
            cpp.whisper_full_get_token_id(context, segment, place)
            for segment in range(n_segments)
            for place in range(cpp.whisper_full_n_tokens(context, segment))
        ]
        return [tokens]

    def encoder_seconds(windows: Sequence[Samples]) -> float:
        cpp.whisper_pcm_to_mel(context, _only(windows), len(windows[0]), threads)
        started = time.perf_counter()
        cpp.whisper_encode(context, 0, threads)
        return time.perf_counter() - started

    return AsWhole(transcribe, encoder_seconds)


def _settings(how: Search, threads: int) -> Any:
    kinds = cpp.whisper_sampling_strategy
    kind = kinds.WHISPER_SAMPLING_BEAM_SEARCH if how.n_beams > 1 else kinds.WHISPER_SAMPLING_GREEDY
    settings = cpp.whisper_full_default_params(kind)
    settings.n_threads = threads
    settings.language = "en"
    settings.no_timestamps = True
    settings.single_segment = True
    settings.max_tokens = how.n_tokens - 1  # it stops one token after so many
    settings.temperature_inc = 0.0  # no second try
    settings.suppress_blank = False
    settings.print_progress = False
    if how.n_beams > 1:
        settings.beam_search = {"beam_size": how.n_beams, "patience": -1.0}
    return settings


def _only(windows: Sequence[Samples]) -> Samples:
    if len(windows) > 1:
        raise CannotError("whisper.cpp decodes one window at a time")
    return windows[0]
