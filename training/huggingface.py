"""A checkpoint in Hugging Face's layout: what transformers, and faster-whisper's converter, read from a folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from stagewhisper.atomic import writing_atomically
from stagewhisper.checkpoint import ModelDims
from stagewhisper.checkpoint.weight_names import huggingface_name
from stagewhisper.tokenizer import Tokenizer
from training.model import Shape


def save_huggingface(
    folder: Path,
    shape: Shape | ModelDims,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    *,
    alignment_heads: Sequence[tuple[int, int]] | None,
) -> None:
    """Write `weights`, which have openai/whisper's names and all one type, and all that belongs to them."""
    folder.mkdir(parents=True, exist_ok=True)
    renamed = {f"model.{huggingface_name(name)}": tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    documents: dict[str, dict[str, object]] = {
        "config.json": configuration(shape, tokenizer, dtype=_only_dtype(weights)),
        "generation_config.json": generation_configuration(tokenizer, alignment_heads=alignment_heads),
        "preprocessor_config.json": preprocessor_configuration(shape),
        "tokenizer_config.json": tokenizer_configuration(),
    }
    for name, content in documents.items():
        with writing_atomically(folder / name) as file:
            file.write(json.dumps(content, indent=1) + "\n")
    tokenizer.save(folder / "tokenizer.json")


def configuration(shape: Shape | ModelDims, tokenizer: Tokenizer, *, dtype: str) -> dict[str, object]:
    """`config.json`: the model's shape, and the type in which transformers is to compute."""
    return {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "activation_function": "gelu",
        "scale_embedding": False,
        "num_mel_bins": shape.n_mels,
        "max_source_positions": shape.n_audio_ctx,
        "d_model": shape.n_audio_state,
        "encoder_attention_heads": shape.n_audio_head,
        "encoder_layers": shape.n_audio_layer,
        "encoder_ffn_dim": 4 * shape.n_audio_state,
        "vocab_size": tokenizer.n_vocab,
        "max_target_positions": shape.n_text_ctx,
        "max_length": shape.n_text_ctx,
        "decoder_attention_heads": shape.n_text_head,
        "decoder_layers": shape.n_text_layer,
        "decoder_ffn_dim": 4 * shape.n_text_state,
        "num_hidden_layers": shape.n_audio_layer,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        **_start_and_end(tokenizer),
    }


def generation_configuration(
    tokenizer: Tokenizer, *, alignment_heads: Sequence[tuple[int, int]] | None
) -> dict[str, object]:
    """`generation_config.json`: what openai/whisper's code knows by itself; heads are (layer, head)."""
    own = tokenizer
    special = {own.sot, own.translate, own.transcribe, own.sot_lm, own.sot_prev, own.no_speech}
    content: dict[str, object] = {
        "is_multilingual": own.is_multilingual,
        "no_timestamps_token_id": own.no_timestamps,
        "prev_sot_token_id": own.sot_prev,
        "max_initial_timestamp_index": 50,
        "suppress_tokens": sorted({*own.non_speech_tokens, *special}),
        "begin_suppress_tokens": [*own.encode(" "), own.eot],
        **_start_and_end(tokenizer),
        "max_length": 448,
        "return_timestamps": False,
    }
    if own.is_multilingual:
        content["lang_to_id"] = {f"<|{code}|>": token for code, token in own.languages.items()}
        content["task_to_id"] = {"transcribe": own.transcribe, "translate": own.translate}
    if alignment_heads is not None:
        content["alignment_heads"] = [list(head) for head in alignment_heads]
    return content


def preprocessor_configuration(shape: Shape | ModelDims) -> dict[str, object]:
    """`preprocessor_config.json`: Whisper's spectrogram of 30 s."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": shape.n_mels,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "dither": 0.0,
    }


def tokenizer_configuration() -> dict[str, object]:
    """`tokenizer_config.json`: which class reads `tokenizer.json`, and what it adds to a text."""
    return {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "model_max_length": 448,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    }


def _start_and_end(tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "decoder_start_token_id": tokenizer.sot,
        "bos_token_id": tokenizer.eot,
        "eos_token_id": tokenizer.eot,
        "pad_token_id": tokenizer.eot,
    }


def _only_dtype(weights: Mapping[str, Tensor]) -> str:
    (dtype,) = {tensor.dtype for tensor in weights.values()}
    return str(dtype).removeprefix("torch.")
