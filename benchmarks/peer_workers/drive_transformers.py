"""transformers on PyTorch (its default attention, `sdpa`), through its own `generate`."""

from collections.abc import Sequence

import torch
import transformers
from measuring import InParts, Program, Samples, Search, TokenLists
from transformers.modeling_outputs import BaseModelOutput

N_PROMPT = 4

PACKAGES = ("transformers", "torch")


def load(model: str, *, threads: int) -> Program:
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(model)
    loaded = transformers.WhisperForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    loaded.generation_config.suppress_tokens = None
    loaded.generation_config.begin_suppress_tokens = None

    def mel(windows: Sequence[Samples]) -> torch.Tensor:
        features: torch.Tensor = extractor(list(windows), sampling_rate=16_000, return_tensors="pt").input_features
        return features

    def encode(mels: torch.Tensor) -> BaseModelOutput:
        with torch.inference_mode():
            return BaseModelOutput(loaded.get_encoder()(mels).last_hidden_state)

    def decode(features: BaseModelOutput, how: Search) -> TokenLists:
        with torch.inference_mode():
            found = loaded.generate(
                encoder_outputs=features,
                language="en",
                task="transcribe",
                num_beams=how.n_beams,
                do_sample=False,
                max_new_tokens=how.n_tokens,
            )
        prompted = found[0, 0] == loaded.generation_config.decoder_start_token_id
        return [row[N_PROMPT if prompted else 0 :].tolist() for row in found]

    return InParts(mel, encode, decode)
