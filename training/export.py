"""A trained state as checkpoints that every Whisper implementation loads.

`python -m training.export WORK_FOLDER --run run` writes WORK_FOLDER/export/nano (a Hugging Face folder: safetensors,
configuration, vocabulary) and WORK_FOLDER/export/nano.pt (OpenAI's layout), both fp16.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from training.alignment_heads import find_alignment_heads
from training.corpus import read_corpus
from training.model import Nano, Shape
from training.vocabulary import N_TIMESTAMPS, N_VOCAB, CompactVocabulary

_HUGGINGFACE_NAMES = (
    (".token_embedding.", ".embed_tokens."), (".positional_embedding", ".embed_positions.weight"), (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."), (".cross_attn.", ".encoder_attn."), (".attn_ln.", ".self_attn_layer_norm."),
    (".attn.", ".self_attn."), (".query.", ".q_proj."), (".key.", ".k_proj."), (".value.", ".v_proj."), (".out.", ".out_proj."),
    (".mlp_ln.", ".final_layer_norm."), (".mlp.0.", ".fc1."), (".mlp.2.", ".fc2."),
    ("encoder.ln_post.", "encoder.layer_norm."), ("decoder.ln.", "decoder.layer_norm."),
)  # fmt: skip


def main() -> None:
    """Write both checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--run", default="run")
    arguments = parser.parse_args()
    model, vocabulary, phoneme_ids = load_state(arguments.work / arguments.run)
    utterances = read_corpus(arguments.work / "corpus", ["espeak-all-0"])
    heads = find_alignment_heads(model, vocabulary, phoneme_ids, utterances)
    weights = whisper_weights(model, vocabulary)
    folder = arguments.work / "export"
    folder.mkdir(exist_ok=True)
    save_openai(folder / "nano.pt", model.shape, weights)
    save_huggingface(folder / "nano", model.shape, weights, vocabulary, heads)
    print(f"alignment heads {heads}; wrote {folder / 'nano'} and {folder / 'nano.pt'}")


def load_state(folder: Path) -> tuple[Nano, CompactVocabulary, dict[str, int]]:
    """The model that `training.train` wrote, with its vocabulary and its phonemes."""
    inventory = json.loads((folder / "inventory.json").read_text())
    vocabulary = CompactVocabulary(inventory["used_tokens"])
    model = Nano(
        Shape(**inventory["shape"]),
        n_used=vocabulary.n_used,
        n_unused=vocabulary.n_unused,
        n_phonemes=len(inventory["phonemes"]),
    )
    model.load_state_dict(torch.load(folder / "state.pt", weights_only=True, map_location="cpu")["model"])
    return model.eval(), vocabulary, inventory["phonemes"]


def whisper_weights(model: Nano, vocabulary: CompactVocabulary) -> dict[str, Tensor]:
    """The weights under openai/whisper's names, fp16, with the full vocabulary."""
    state = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith(("phoneme_head", "ctc_head"))
    }
    for name in ("decoder.used", "decoder.never", "decoder.timestamp.weight", "decoder.timestamp.bias"):
        del state[name]
    state["decoder.token_embedding.weight"] = full_embedding(model, vocabulary)
    return {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in state.items()}


@torch.no_grad()
def full_embedding(model: Nano, vocabulary: CompactVocabulary) -> Tensor:
    """ "n_vocab n_state": each token's row; tokens that were never used share one."""
    rows = model.decoder.embedding()
    full = rows[vocabulary.n_used].repeat(N_VOCAB, 1)
    full[list(vocabulary.used_tokens)] = rows[: vocabulary.n_used]
    full[N_VOCAB - N_TIMESTAMPS :] = rows[vocabulary.n_used + 1 :]
    return full


def save_openai(path: Path, shape: Shape, weights: dict[str, Tensor]) -> None:
    """OpenAI's `.pt` layout."""
    torch.save({"dims": {**vars(shape), "n_vocab": N_VOCAB}, "model_state_dict": weights}, path)


def save_huggingface(
    folder: Path,
    shape: Shape,
    weights: dict[str, Tensor],
    vocabulary: CompactVocabulary,
    alignment_heads: list[tuple[int, int]],
) -> None:
    """A Hugging Face folder with all that transformers and faster-whisper's converter read."""
    folder.mkdir(exist_ok=True)
    save_file(
        {f"model.{huggingface_name(name)}": tensor for name, tensor in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    own = vocabulary.tokenizer
    documents = {
        "config.json": configuration(shape, vocabulary),
        "generation_config.json": generation_configuration(vocabulary, alignment_heads),
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "feature_size": shape.n_mels,
            "sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400, "n_samples": 480_000, "nb_max_frames": 3000,
            "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False, "dither": 0.0,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor", "model_max_length": 448,
            "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
            "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        },
    }  # fmt: skip
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    own.save(folder / "tokenizer.json")


def huggingface_name(name: str) -> str:
    """transformers' name of one of openai/whisper's tensors."""
    for openai, huggingface in _HUGGINGFACE_NAMES:
        name = name.replace(openai, huggingface)
    return name


def configuration(shape: Shape, vocabulary: CompactVocabulary) -> dict[str, object]:
    """transformers' `config.json`."""
    own = vocabulary.tokenizer
    return {
        "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "activation_function": "gelu",
        "scale_embedding": False, "num_mel_bins": shape.n_mels, "max_source_positions": shape.n_audio_ctx, "d_model": shape.n_audio_state,
        "encoder_attention_heads": shape.n_audio_head, "encoder_layers": shape.n_audio_layer, "encoder_ffn_dim": 4 * shape.n_audio_state,
        "vocab_size": N_VOCAB, "max_target_positions": shape.n_text_ctx, "max_length": shape.n_text_ctx,
        "decoder_attention_heads": shape.n_text_head, "decoder_layers": shape.n_text_layer, "decoder_ffn_dim": 4 * shape.n_text_state,
        "num_hidden_layers": shape.n_audio_layer, "is_encoder_decoder": True, "tie_word_embeddings": True, "torch_dtype": "float16",
        "decoder_start_token_id": own.sot, "bos_token_id": own.eot, "eos_token_id": own.eot, "pad_token_id": own.eot,
    }  # fmt: skip


def generation_configuration(
    vocabulary: CompactVocabulary, alignment_heads: list[tuple[int, int]]
) -> dict[str, object]:
    """transformers' `generation_config.json`: what openai/whisper's code knows by itself."""
    own = vocabulary.tokenizer
    special = {own.sot, own.translate, own.transcribe, own.sot_lm, own.sot_prev, own.no_speech}
    blank = own.encode(" ")
    return {
        "alignment_heads": [list(head) for head in alignment_heads], "is_multilingual": True,
        "lang_to_id": {f"<|{code}|>": token for code, token in own.languages.items()},
        "task_to_id": {"transcribe": own.transcribe, "translate": own.translate},
        "no_timestamps_token_id": own.no_timestamps, "prev_sot_token_id": own.sot_prev, "max_initial_timestamp_index": 50,
        "suppress_tokens": sorted({*own.non_speech_tokens, *special}), "begin_suppress_tokens": [*blank, own.eot],
        "decoder_start_token_id": own.sot, "bos_token_id": own.eot, "eos_token_id": own.eot, "pad_token_id": own.eot,
        "max_length": 448, "return_timestamps": False,
    }  # fmt: skip


if __name__ == "__main__":
    main()
