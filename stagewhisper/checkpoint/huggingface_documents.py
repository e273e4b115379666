"""The JSON documents that stand beside the weights in Hugging Face's layout, for those who write a checkpoint.

transformers, and faster-whisper's converter, read them from the folder that also holds model.safetensors.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from stagewhisper.atomic import writing_atomically
from stagewhisper.checkpoint.dims import ModelDims
from stagewhisper.tokenizer import Tokenizer


def write_documents(
    folder: Path,
    dims: ModelDims,
    tokenizer: Tokenizer,
    *,
    dtype: str,
    alignment_heads: Sequence[tuple[int, int]] | None,
) -> None:
    """Write all that belongs to weights in `folder` which have the type `dtype`: documents and vocabulary."""
    documents: dict[str, Mapping[str, object]] = {
        "config.json": configuration(dims, tokenizer, dtype=dtype),
        "generation_config.json": generation_configuration(tokenizer, alignment_heads=alignment_heads),
        "preprocessor_config.json": preprocessor_configuration(dims),
        "tokenizer_config.json": tokenizer_configuration(),
    }
    for name, content in documents.items():
        with writing_atomically(folder / name) as file:
            file.write(json.dumps(content, indent=1) + "\n")
    tokenizer.save(folder / "tokenizer.json")


def configuration(dims: ModelDims, tokenizer: Tokenizer, *, dtype: str) -> dict[str, object]:
    """`config.json`: the model's shape, and the type in which transformers is to compute."""
    return {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "activation_function": "gelu",
        "scale_embedding": False,
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "vocab_size": tokenizer.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "max_length": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "num_hidden_layers": dims.n_audio_layer,
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


def preprocessor_configuration(dims: ModelDims) -> dict[str, object]:
    """`preprocessor_config.json`: Whisper's spectrogram of 30 s."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": dims.n_mels,
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
