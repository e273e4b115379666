"""openai-whisper on PyTorch, through its own `decode`."""

from collections.abc import Sequence

import torch
import whisper
from measuring import InParts, Program, Samples, Search, TokenLists

PACKAGES = ("openai-whisper", "torch")


def load(model: str, *, threads: int) -> Program:
    torch.set_num_threads(threads)
    loaded = whisper.load_model(model, device="cpu")

    def mel(windows: Sequence[Samples]) -> torch.Tensor:
        return torch.stack([whisper.log_mel_spectrogram(samples, loaded.dims.n_mels) for samples in windows])

    def encode(mels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            features: torch.Tensor = loaded.encoder(mels)
        return features

    def decode(features: torch.Tensor, how: Search) -> TokenLists:
        options = whisper.DecodingOptions(
            language="en",
            sample_len=how.n_tokens,
            beam_size=how.n_beams if how.n_beams > 1 else None,
            without_timestamps=True,
            suppress_tokens="",
            suppress_blank=False,
            fp16=False,
        )
        with torch.inference_mode():
            return [result.tokens for result in whisper.decode(loaded, features, options)]

    return InParts(mel, encode, decode)
