"""faster-whisper, through the calls that its own `transcribe` makes: features, `encode`, CTranslate2's `generate`.

The model is FOLDER+COMPUTE_TYPE.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage
from measuring import InParts, Program, Samples, Search, TokenLists

PACKAGES = ("faster-whisper", "ctranslate2")


def load(model: str, *, threads: int) -> Program:
    folder, compute_type = model.rsplit("+", 1)
    whisper = WhisperModel(folder, device="cpu", compute_type=compute_type, cpu_threads=threads, num_workers=1)
    tokenizer = Tokenizer(whisper.hf_tokenizer, True, task="transcribe", language="en")
    prompt = whisper.get_prompt(tokenizer, [], without_timestamps=True)

    def mel(windows: Sequence[Samples]) -> np.ndarray:
        # padding=0: one window exactly, and no silence of 30 s behind it that would be computed and cut off again
        return np.stack([whisper.feature_extractor(samples, padding=0)[:, :3000] for samples in windows])

    def encode(mels: np.ndarray) -> Any:
        return whisper.model.encode(get_ctranslate2_storage(mels), to_cpu=False), len(mels)

    def decode(features: Any, how: Search) -> TokenLists:
        results = whisper.model.generate(
            features[0],
            [prompt] * features[1],
            beam_size=how.n_beams,
            patience=1,
            length_penalty=1,
            max_length=2 * how.n_tokens,  # it decodes half as many at the most
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=False,
            suppress_tokens=[],
        )
        return [result.sequences_ids[0] for result in results]

    return InParts(mel, encode, decode)
