"""Tiny random checkpoints for all tests, written by openai-whisper's and torch's own code."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from whisper.model import ModelDimensions, Whisper

from stagewhisper.checkpoint import ModelDims

_HUGGINGFACE_NAMES = [
    (".token_embedding.", ".embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
    (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".mlp_ln.", ".final_layer_norm."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
]


def random_dims(**changes: int) -> ModelDims:
    """A whole Whisper in small: all its parts, the multilingual vocabulary, about 3.7 million parameters."""
    tiny = {
        "n_mels": 80,
        "n_audio_ctx": 1500,
        "n_audio_state": 64,
        "n_audio_head": 2,
        "n_audio_layer": 2,
        "n_vocab": 51_865,
        "n_text_ctx": 448,
        "n_text_state": 64,
        "n_text_head": 2,
        "n_text_layer": 2,
    }
    return ModelDims(**(tiny | changes))


def random_whisper(dims: ModelDims, seed: int = 0) -> Whisper:
    """openai-whisper's model with normal weights, scaled so that activations and logits stay near unit size."""
    model = Whisper(ModelDimensions(**dims.to_dict()))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = _scaled(name, noise)
    return model.eval()


def save_openai(path: Path, dims: ModelDims, seed: int = 0, *, dtype: torch.dtype = torch.float32) -> Path:
    """A random checkpoint in OpenAI's `.pt` layout at `path`, which is returned."""
    weights = {name: tensor.to(dtype) for name, tensor in random_whisper(dims, seed).state_dict().items()}
    torch.save({"dims": dims.to_dict(), "model_state_dict": weights}, path)
    return path


def save_huggingface(folder: Path, pt_path: Path, dtype: torch.dtype = torch.float32) -> Path:
    """The weights of the `.pt` file as a Hugging Face folder with one safetensors file; the folder is returned."""
    content = torch.load(pt_path, weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(huggingface_weights(content["model_state_dict"], dtype), folder / "model.safetensors")
    config = huggingface_config(ModelDims(**content["dims"]))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def huggingface_weights(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The same tensors under transformers' names."""
    return {f"model.{_huggingface_name(name)}": tensor.to(dtype) for name, tensor in weights.items()}


def huggingface_config(dims: ModelDims) -> dict[str, object]:
    """What transformers' `config.json` says of a model of this shape."""
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
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": 4 * dims.n_text_state,
    }


def _scaled(name: str, noise: torch.Tensor) -> torch.Tensor:
    if name.endswith(("_ln.weight", "ln.weight", "ln_post.weight")):
        return 1 + 0.1 * noise
    if name.endswith(".bias"):
        return 0.1 * noise
    if name == "decoder.token_embedding.weight":
        return noise * (2 / noise.shape[1] ** 0.5)  # logits of standard deviation 2 after the last layer norm
    if name.endswith("positional_embedding"):
        return 0.1 * noise
    return noise * noise[0].numel() ** -0.5


def _huggingface_name(name: str) -> str:
    for openai, huggingface in _HUGGINGFACE_NAMES:
        name = name.replace(openai, huggingface)
    return name
