"""What transformers' configuration files say of a Whisper model."""

import logging
from collections.abc import Mapping
from pathlib import Path

from stagewhisper.checkpoint.dims import ModelDims
from stagewhisper.checkpoint.json_object import read_json_object
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.errors import CheckpointError

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"

_FIELDS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}


def read_config(path: Path) -> ModelDims:
    """The dims that config.json gives.

    Raises:
        CheckpointError: the file is broken, lacks a field, or describes another architecture than Whisper's.
    """
    config = read_json_object(path)
    for name in _FIELDS.values():
        if name not in config:
            raise CheckpointError(f"{path} lacks the field {name}. Is it a Whisper model?")
    try:
        dims = ModelDims.from_dict({name: config[field] for name, field in _FIELDS.items()})
    except CheckpointError as error:
        concerned = dict.fromkeys(field for name, field in _FIELDS.items() if name in str(error))
        raise CheckpointError(f"{path}, {' and '.join(concerned)}: {error}") from error
    _check_architecture(path, config, dims)
    return dims


def read_alignment_heads(path: Path, dims: ModelDims) -> tuple[tuple[int, int], ...] | None:
    """The (layer, head) pairs of generation_config.json; None if it has none, or none that this model has.

    Raises:
        CheckpointError: the file is broken, or the field is no list of pairs.
    """
    heads = read_json_object(path).get("alignment_heads")
    if heads is None or heads == []:
        return None
    if not isinstance(heads, list) or not all(_is_pair(pair) for pair in heads):
        raise CheckpointError(f"{path}: alignment_heads is {quoted(heads)}; expected [layer, head] pairs.")
    if any(layer >= dims.n_text_layer or head >= dims.n_text_head for layer, head in heads):
        # Distilled models often carry their teacher's file; only word timestamps depend on it.
        logger.warning(
            "%s: alignment_heads %s do not fit %d layers of %d heads and are left out",
            path,
            quoted(heads),
            dims.n_text_layer,
            dims.n_text_head,
        )
        return None
    return tuple((layer, head) for layer, head in heads)


def _check_architecture(path: Path, config: Mapping[str, object], dims: ModelDims) -> None:
    expected: dict[str, object] = {
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_ffn_dim": 4 * dims.n_text_state,
    }
    for name, value in expected.items():
        if name in config and config[name] != value:
            raise CheckpointError(
                f"{path}: {name} is {quoted(config[name])}; expected {value!r}, as in every Whisper model."
            )


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int and n >= 0 for n in value)
