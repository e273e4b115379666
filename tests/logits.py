"""Teacher-forced logits of ours and of openai-whisper's, for tests to compare."""

from pathlib import Path

import numpy as np
import torch
import whisper

from stagewhisper.checkpoint import ModelDims
from stagewhisper.engines import AnyEngine

CLOSE = 1e-4
"""Logits are sums of some hundred float32 products of unit size, taken in another order: they agree to 1e-5."""


def random_mel(dims: ModelDims, n_audio: int = 1, seed: int = 0) -> np.ndarray:
    """Made-up windows, [n_audio, n_mels, n_frames]."""
    shape = (n_audio, dims.n_mels, 2 * dims.n_audio_ctx)
    return (0.5 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def random_tokens(dims: ModelDims, n_seq: int, n_tokens: int, seed: int = 0) -> np.ndarray:
    """Made-up token ids, [n_seq, n_tokens]."""
    return np.random.default_rng(seed).integers(0, dims.n_vocab, (n_seq, n_tokens))


def our_logits(
    engine: AnyEngine, mel: np.ndarray, tokens: np.ndarray, *, calls: tuple[int, ...] | None = None
) -> np.ndarray:
    """Logits at every position of `tokens`, given to the decoder in calls of these lengths.

    There may be several sequences for a window: [n_audio · n_group, n_tokens] tokens for [n_audio, ..] windows.
    """
    n_group = len(tokens) // len(mel)
    cache = engine.start(engine.encode(mel))
    cache = engine.reorder(cache, np.repeat(np.arange(len(mel)), n_group).tolist())
    logits, first = [], 0
    for n_new in calls or (tokens.shape[1],):
        output = engine.decode_step(tokens[:, first : first + n_new], cache, logit_positions=range(n_new))
        logits.append(output.logits)
        cache, first = output.cache, first + n_new
    return np.concatenate(logits, axis=1)


@torch.no_grad()
def their_logits(model: whisper.Whisper, mel: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The same, of openai-whisper."""
    features = model.encoder(torch.from_numpy(mel)).repeat_interleave(len(tokens) // len(mel), dim=0)
    logits: np.ndarray = model.decoder(torch.from_numpy(tokens), features).numpy()
    return logits


def load_oracle(path: Path) -> whisper.Whisper:
    """openai-whisper's model of a `.pt` file."""
    # Its threads wait for each other at every small step: on a busy machine it takes five times as long with them.
    torch.set_num_threads(1)
    return whisper.load_model(str(path), device="cpu")
