"""Our own bundles, decoded by our own decoding."""

from collections.abc import Sequence

import numpy as np
from measuring import InParts, Program, Samples, Search, TokenLists

import stagewhisper
from stagewhisper.decoding import DecodingOptions, decode
from stagewhisper.engines.base import AnyEngine
from stagewhisper.mel import log_mel
from stagewhisper.tokenizer import Tokenizer

PACKAGES = ("stagewhisper", "onnxruntime")


def load(model: str, *, threads: int) -> Program:
    loaded = stagewhisper.load(model, threads=threads)
    return decoded_by_us(loaded.engine, loaded.tokenizer)


def decoded_by_us(engine: AnyEngine, tokenizer: Tokenizer) -> Program:
    """Any engine under our decoding."""

    def mel(windows: Sequence[Samples]) -> np.ndarray:
        return np.stack([log_mel(samples, n_mels=engine.dims.n_mels) for samples in windows])

    def encode(mels: np.ndarray) -> tuple[object, int]:
        return engine.encode(mels), len(mels)

    def search(features: tuple[object, int], how: Search) -> TokenLists:
        options = DecodingOptions(
            language="en",
            sample_len=how.n_tokens,
            beam_size=how.n_beams if how.n_beams > 1 else None,
            without_timestamps=True,
            suppress_tokens="",
            suppress_blank=False,
        )
        found = decode(engine, features[0], tokenizer=tokenizer, options=options, n_audio=features[1])
        return [list(result.tokens) for result in found]

    return InParts(mel, encode, search)
