"""Names for the shapes that travel through the package; the test run checks them at every call."""

import numpy as np
from jaxtyping import Float32, Int64

Samples = Float32[np.ndarray, " n_samples"]
"""Mono audio at 16 kHz, full scale at ±1."""

Mel = Float32[np.ndarray, "n_mels n_frames"]
"""Log-Mel spectrogram, one frame per 10 ms."""

MelBatch = Float32[np.ndarray, "batch n_mels n_frames"]
"""Several windows of equal length."""

AudioFeatures = Float32[np.ndarray, "batch n_audio_ctx n_audio_state"]
"""The encoder's output for several windows, n_audio_ctx frames of 20 ms each."""

Tokens = Int64[np.ndarray, "n_seq n_new"]
"""Token ids, one row per sequence that is being decoded."""

Logits = Float32[np.ndarray, "n_seq n_vocab"]
"""Unnormalised log-probabilities of the next token of each sequence."""

PositionLogits = Float32[np.ndarray, "n_seq n_positions n_vocab"]
"""Logits at several positions of each sequence."""
