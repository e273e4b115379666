import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.errors import CheckpointError
from tests.checkpoint.torch_archives import small_dims, small_weights
from tests.checkpoints import huggingface_config, huggingface_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(huggingface_weights(small_weights(), torch.float32), tmp_path / "model.safetensors")
    _configure(tmp_path)
    return tmp_path


@pytest.fixture
def sharded(folder: Path) -> Path:
    """Two shards and their index, which tests replace."""
    (folder / "model.safetensors").unlink()
    tensors = huggingface_weights(small_weights(), torch.float32)
    names = sorted(tensors)
    save_file({name: tensors[name] for name in names[::2]}, folder / "a.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, folder / "b.safetensors")
    _index(folder, {name: "ab"[i % 2] + ".safetensors" for i, name in enumerate(names)})
    return folder


def _configure(folder: Path, **changes: object) -> None:
    config = huggingface_config(small_dims()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def _index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _refused(folder: Path, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"d_model": ...}, "config.json lacks the field d_model"),
        ({"d_model": "8"}, "config.json, d_model: n_audio_state is '8'"),
        ({"d_model": 16}, r"encoder_ffn_dim is 32; expected 64"),
        ({"vocab_size": -1}, "config.json, vocab_size: n_vocab is -1"),
        ({"vocab_size": 10**300}, "vocab_size"),
        ({"num_mel_bins": 80}, r"encoder\.conv1\.weight has shape \(8, 4, 3\); expected \(8, 80, 3\)"),
        ({"encoder_layers": 2}, r"lacks the tensor encoder\.blocks\.1\."),
        ({"decoder_layers": []}, r"decoder_layers: n_text_layer is \[\]"),
        ({"encoder_attention_heads": 3}, "encoder_attention_heads: .*divide the state"),
        ({"model_type": "wav2vec2"}, "model_type is 'wav2vec2'; expected 'whisper'"),
        ({"activation_function": "relu"}, "activation_function is 'relu'; expected 'gelu'"),
        ({"scale_embedding": True}, "scale_embedding is True; expected False"),
    ],
)
def test_a_config_that_does_not_describe_the_weights_is_refused_by_field(folder, changes, reason):
    _configure(folder, **changes)
    _refused(folder, reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "broken JSON"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (b'{"d_model": 8', "broken JSON"),
        (b"\x80\xff", "broken JSON"),
        (b"[" * 100_000, "nested too deep|broken JSON"),
        (b" " * 11_000_000, "larger than"),
    ],
)
def test_a_broken_config_is_refused(folder, text, reason):
    (folder / "config.json").write_bytes(text)
    _refused(folder, f"config.json .*({reason})")


def test_fewer_layers_than_the_file_holds_are_refused(folder):
    weights = huggingface_weights(small_weights(n_text_layer=2), torch.float32)
    save_file(weights, folder / "model.safetensors")
    _refused(folder, r"'decoder\.layers\.1\.[a-z0-9_.]+', which Whisper of these dims does not have")


@pytest.mark.parametrize("heads", ["all", [1, 2], [[0]], [[0, -1]], [[0, 0.5]], {"0": 1}])
def test_alignment_heads_that_are_no_pairs_are_refused(folder, heads):
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": heads}))
    _refused(folder, r"generation_config\.json: alignment_heads is .* expected \[layer, head\] pairs")


def test_shards_are_read_as_one(sharded):
    assert set(load_checkpoint(sharded).weight_names) == set(small_weights())


@pytest.mark.parametrize(
    "shard",
    [
        "../a.safetensors",
        "/etc/a.safetensors",
        "sub/a.safetensors",
        "..\\a.safetensors",
        "C:a.safetensors",
        "..",
        ".safetensors",
        "a.safetensors\n",
        "a\0.safetensors",
        "config.json",
        "",
        7,
        None,
        ["a.safetensors"],
    ],
)
def test_a_shard_outside_the_folder_or_of_another_kind_is_refused(sharded, shard):
    _index(sharded, {"model.encoder.conv1.weight": shard})
    _refused(sharded, "weight_map gives .* expected the name of a .safetensors or .bin file in the same folder")


def test_a_missing_shard_is_named(sharded):
    (sharded / "b.safetensors").unlink()
    _refused(sharded, "names the shard b.safetensors, which is not there")


def test_a_tensor_that_its_shard_lacks_is_named(sharded):
    _index(sharded, {"model.x": "a.safetensors", "model.y": "b.safetensors"})
    _refused(sharded, "says that a.safetensors holds 'model.x', but it does not")


def test_a_tensor_in_two_shards_is_refused(sharded):
    (sharded / "b.safetensors").write_bytes((sharded / "a.safetensors").read_bytes())
    _refused(sharded, "which another shard holds too")


@pytest.mark.parametrize("weight_map", [None, {}, [], "a.safetensors"])
def test_an_index_without_shards_is_refused(sharded, weight_map):
    _index(sharded, weight_map)
    _refused(sharded, "weight_map is .* expected an object")


def test_one_name_with_and_without_its_prefix_is_refused(folder):
    tensors = huggingface_weights(small_weights(), torch.float32) | {"encoder.conv1.bias": torch.zeros(8)}
    save_file(tensors, folder / "model.safetensors")
    _refused(folder, "'encoder.conv1.bias' with and without")


def test_a_folder_without_weights_says_what_is_expected(folder):
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(b"x")
    _refused(folder, "holds no weights: expected model.safetensors")


def test_a_single_bin_file_of_any_name_is_read_beside_the_trainers_own(folder):
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(b"x")
    torch.save(huggingface_weights(small_weights(), torch.float16), folder / "whisper.bin")
    checkpoint = load_checkpoint(folder)
    assert checkpoint.stored_dtype == "float16"
    assert [file.name for file in checkpoint.files] == ["whisper.bin", "config.json"]


def test_a_bin_file_that_is_no_state_dict_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save([1, 2], folder / "pytorch_model.bin")
    _refused(folder, r"holds \[1, 2\]; expected a state dict")
    torch.save({"state_dict": {}}, folder / "pytorch_model.bin")
    _refused(folder, r"holds 'state_dict': \{\}; expected names and tensors only")
