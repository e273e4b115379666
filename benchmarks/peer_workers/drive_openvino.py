"""OpenVINO GenAI's WhisperPipeline, tuned for latency. It tells how many tokens it decoded, but not which."""

from collections.abc import Sequence
from typing import Any

import openvino_genai
from measuring import UNKNOWN, AsWhole, CannotError, Program, Samples, Search, TokenLists

PACKAGES = ("openvino-genai", "openvino")


def load(model: str, *, threads: int) -> Program:
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    pipeline = openvino_genai.WhisperPipeline(model, "CPU", **settings)
    last: dict[str, Any] = {}

    def transcribe(windows: Sequence[Samples], how: Search) -> TokenLists:
        if len(windows) > 1:
            raise CannotError("WhisperPipeline takes one recording at a time")
        last["heard"] = pipeline.generate(windows[0].tolist(), _settings(pipeline, how))
        n_tokens = last["heard"].perf_metrics.get_num_generated_tokens()
        return [[UNKNOWN] * (1 + (n_tokens - 1) // how.n_beams)]  # counted are all beams' after the first, shared one

    def encoder_seconds(windows: Sequence[Samples]) -> float:  # noqa: ARG001  it tells of the last call
        raw = last["heard"].perf_metrics.whisper_raw_metrics
        return float(sum(raw.encode_inference_durations)) / 1e6

    return AsWhole(transcribe, encoder_seconds)


def _settings(pipeline: Any, how: Search) -> Any:
    settings = pipeline.get_generation_config()
    settings.language = "<|en|>"
    settings.task = "transcribe"
    settings.return_timestamps = False
    settings.max_new_tokens = how.n_tokens
    settings.num_beams = how.n_beams
    settings.suppress_tokens = []
    settings.begin_suppress_tokens = []
    return settings
