"""Several virtual processors against one; run as a program of its own, since JAX counts devices when it starts.

Prints one line of JSON: for each mesh, the largest difference of the logits from one device's, whether the transcripts
of greedy decoding, sampling and beam search are the same, and on how many devices a layer's weights lie; and where
encoder and decoder are engines of their own, the largest difference of audio features and of keys made of them.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import numpy as np

from stagewhisper.engines.jax import JaxEngine
from stagewhisper.errors import EngineError
from tests.engines.jax_sample import DIMS, MadeUp, decoded, mel

SHALLOW = MadeUp(replace(DIMS, n_audio_layer=1, n_text_layer=1))
"""One layer of each kind: compiling for many devices takes most of the time."""

N_AUDIO = 5
"""No multiple of the devices: the batch has to be filled up."""

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"sample_len": 20},
    "sampling": {"temperature": 0.7, "best_of": 2, "sample_len": 10},
    "beams": {"beam_size": 2, "sample_len": 3},
}


def logits(engine: JaxEngine) -> np.ndarray:
    """After a prompt, and after one more token."""
    tokens = np.random.default_rng(1).integers(0, DIMS.n_vocab, (N_AUDIO, 5))
    prompt = engine.decode_step(tokens[:, :4], engine.start(engine.encode(mel(N_AUDIO))))
    step = engine.decode_step(tokens[:, 4:], prompt.cache)
    return np.concatenate([prompt.logits, step.logits], axis=1)


def transcripts(engine: JaxEngine) -> list[tuple[int, ...]]:
    return [result.tokens for options in WAYS.values() for result in decoded(engine, N_AUDIO, **options)]


def sides(encoder: JaxEngine, decoder: JaxEngine) -> tuple[np.ndarray, np.ndarray]:
    """Audio features, and the first layer's keys that are made of them; the batch is filled up no more."""
    audio = encoder.audio_features(mel(N_AUDIO))
    return audio, np.asarray(decoder.project(audio).cross[0][0])[:N_AUDIO]


def refusal(device: str) -> str:
    try:
        JaxEngine(SHALLOW, device=device)
    except EngineError as error:
        return str(error)
    return ""


def compared(
    device: str, expected: tuple[np.ndarray, list[tuple[int, ...]]], expected_sides: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    engine = JaxEngine(SHALLOW, device=device)
    weight = engine._weights["decoder"]["blocks"][0]["mlp_in"]["weight"]
    cross = engine.encode(mel(N_AUDIO)).cross[0][0]
    parts = JaxEngine(SHALLOW, device=device, part="encoder"), JaxEngine(SHALLOW, device=device, part="decoder")
    return {
        "sides_difference": max(
            float(np.abs(one - other).max()) for one, other in zip(sides(*parts), expected_sides, strict=True)
        ),
        "difference": float(np.abs(logits(engine) - expected[0]).max()),
        "same_transcripts": transcripts(engine) == expected[1],
        "share_of_a_weight": weight.addressable_shards[0].data.size / weight.size,
        "share_of_the_audio": cross.addressable_shards[0].data.size / cross.size,
        "devices": len(weight.sharding.device_set),
    }


if __name__ == "__main__":
    single = JaxEngine(SHALLOW, device="cpu")
    expected = logits(single), transcripts(single)
    found: dict[str, Any] = {device: compared(device, expected, sides(single, single)) for device in sys.argv[1:]}
    found["refusals"] = [refusal("cpu:16x1"), refusal("cpu:1x8"), refusal("cpu:0x1"), refusal("cpu:8")]
    print(json.dumps(found))
