"""Graphs in optimum's form on ONNX Runtime, under our decoding, which takes less time than transformers' `generate`.

The model is FOLDER+SUFFIX: the graphs are FOLDER/encoder_model{SUFFIX}.onnx and so on.
"""

import json
from pathlib import Path

from drive_stagewhisper import decoded_by_us
from exported_engine import ExportEngine
from measuring import Program

from stagewhisper.checkpoint import ModelDims
from stagewhisper.tokenizer import load_tokenizer

PACKAGES = ("onnxruntime",)


def load(model: str, *, threads: int) -> Program:
    folder, suffix = model.rsplit("+", 1)
    dims = dims_of(Path(folder))
    tokenizer = load_tokenizer(dims.n_vocab, Path(folder) / "tokenizer.json")
    return decoded_by_us(ExportEngine(Path(folder), suffix=suffix, dims=dims, threads=threads), tokenizer)


def dims_of(folder: Path) -> ModelDims:
    """The shape that transformers' `config.json` tells."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return ModelDims(
        n_mels=config["num_mel_bins"],
        n_audio_ctx=config["max_source_positions"],
        n_audio_state=config["d_model"],
        n_audio_head=config["encoder_attention_heads"],
        n_audio_layer=config["encoder_layers"],
        n_vocab=config["vocab_size"],
        n_text_ctx=config["max_target_positions"],
        n_text_state=config["d_model"],
        n_text_head=config["decoder_attention_heads"],
        n_text_layer=config["decoder_layers"],
    )
