import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from whisper.model import sinusoids as openai_sinusoids

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.checkpoint.weight_names import huggingface_name, weight_shapes
from stagewhisper.errors import CheckpointError
from tests.checkpoint.torch_archives import save_content, save_small, small_dims, small_weights
from tests.checkpoints import huggingface_config, huggingface_weights, random_dims, save_huggingface, save_openai

POSITIONS = "encoder.positional_embedding"


def _weights(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    return {name: checkpoint.weight(name) for name in checkpoint.weight_names}


def _assert_holds(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> None:
    assert set(checkpoint.weight_names) == set(tensors)
    for name, tensor in tensors.items():
        weight = checkpoint.weight(name)
        assert weight.dtype == np.float32
        assert weight.flags.c_contiguous
        assert checkpoint.shape(name) == weight.shape
        np.testing.assert_array_equal(weight, tensor.float().numpy(), err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_an_openai_file_gives_the_numbers_that_torch_reads(tmp_path, dtype):
    path = save_openai(tmp_path / "x.pt", small_dims(), dtype=dtype)
    checkpoint = load_checkpoint(path)
    assert checkpoint.dims == small_dims()
    assert checkpoint.stored_dtype == str(dtype).removeprefix("torch.")
    assert checkpoint.files == (path,)
    _assert_holds(checkpoint, torch.load(path)["model_state_dict"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_both_forms_of_a_checkpoint_hold_the_same_numbers(tmp_path, dtype):
    path = save_openai(tmp_path / "x.pt", random_dims(), seed=3, dtype=dtype)
    folder = save_huggingface(tmp_path / "hf", path, dtype)
    openai, huggingface = load_checkpoint(path), load_checkpoint(folder)
    assert openai.dims == huggingface.dims
    assert openai.stored_dtype == huggingface.stored_dtype
    for name, weight in _weights(openai).items():
        np.testing.assert_array_equal(huggingface.weight(name), weight, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_mels": 128, "n_vocab": 51_866, "n_audio_layer": 6, "n_text_layer": 4},  # turbo: few decoder layers
        {"n_text_layer": 1, "n_text_head": 4},  # distil
        {"n_vocab": 52_003},  # a fine-tune with tokens of its own
    ],
)
def test_unusual_shapes_load_in_both_forms(tmp_path, changes):
    path = save_openai(tmp_path / "x.pt", random_dims(**changes), dtype=torch.float16)
    folder = save_huggingface(tmp_path / "hf", path, torch.float16)
    assert load_checkpoint(path).dims == load_checkpoint(folder).dims == random_dims(**changes)


def test_what_transformers_saves_in_shards_gives_its_numbers(tmp_path):
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(**huggingface_config(small_dims()), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = WhisperForConditionalGeneration(config)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.dims == small_dims()
    state = model.model.state_dict()
    _assert_holds(checkpoint, {name: state[huggingface_name(name)] for name in weight_shapes(small_dims())})
    assert {file.name for file in checkpoint.files} == {file.name for file in tmp_path.iterdir()}

    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")  # holds proj_out.weight and _metadata too
    for file in tmp_path.glob("model*"):
        file.unlink()
    from_bin = load_checkpoint(tmp_path)
    assert from_bin.files[0].name == "pytorch_model.bin"
    for name, weight in _weights(checkpoint).items():
        np.testing.assert_array_equal(from_bin.weight(name), weight, err_msg=name)


def _folder(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = huggingface_weights(small_weights(), torch.float32) if tensors is None else tensors
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(huggingface_config(small_dims()) | config))
    return folder


def test_names_without_the_leading_model_are_understood(tmp_path):
    tensors = huggingface_weights(small_weights(), torch.float32)
    folder = _folder(tmp_path, {name.removeprefix("model."): tensor for name, tensor in tensors.items()})
    _assert_holds(load_checkpoint(folder), small_weights())


def test_mixed_element_types_are_widened_one_by_one(tmp_path):
    types = [torch.float32, torch.float16, torch.bfloat16]
    tensors = huggingface_weights(small_weights(), torch.float32)
    tensors = {name: tensor.to(types[i % 3]) for i, (name, tensor) in enumerate(tensors.items())}
    stored = {name: tensors[f"model.{huggingface_name(name)}"] for name in small_weights()}
    _assert_holds(load_checkpoint(_folder(tmp_path, tensors)), stored)


def test_a_tied_output_projection_is_accepted_and_an_untied_one_refused(tmp_path):
    tensors = huggingface_weights(small_weights(), torch.float32)
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"].clone()
    _assert_holds(load_checkpoint(_folder(tmp_path, tensors)), small_weights())
    tensors["proj_out.weight"][-1, -1] += 1
    with pytest.raises(CheckpointError, match=r"proj_out\.weight .* untied"):
        load_checkpoint(_folder(tmp_path, tensors))


def test_the_folders_tokenizer_and_alignment_heads_are_found(tmp_path):
    folder = _folder(tmp_path)
    assert load_checkpoint(folder).tokenizer_file is None
    assert load_checkpoint(folder).alignment_heads is None
    (folder / "tokenizer.json").write_text("{}")
    (folder / "generation_config.json").write_text('{"alignment_heads": [[0, 1], [0, 0]]}')
    checkpoint = load_checkpoint(folder)
    assert checkpoint.tokenizer_file == folder / "tokenizer.json"
    assert checkpoint.alignment_heads == ((0, 1), (0, 0))
    assert [file.name for file in checkpoint.files] == [
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
    ]


def test_alignment_heads_of_another_model_are_left_out_with_a_warning(tmp_path, caplog):
    folder = _folder(tmp_path)
    (folder / "generation_config.json").write_text('{"alignment_heads": [[7, 0]]}')
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(folder).alignment_heads is None
    assert "[[7, 0]] do not fit 1 layers of 2 heads" in caplog.text


def test_a_folder_with_one_pt_file_is_that_file(tmp_path):
    pt_file = save_small(tmp_path / "x.pt")
    (tmp_path / "tokenizer.json").write_text("{}")
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.path == tmp_path
    assert checkpoint.files == (pt_file, tmp_path / "tokenizer.json")
    save_small(tmp_path / "y.pt")
    with pytest.raises(CheckpointError, match=r"2 \.pt files"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("n_state", [8, 384])
def test_missing_audio_positions_are_computed_as_openai_does(tmp_path, n_state):
    dims = {"n_audio_ctx": 1500, "n_audio_state": n_state, "n_text_state": n_state}
    weights = small_weights(**dims)
    del weights[POSITIONS]
    checkpoint = load_checkpoint(save_content(tmp_path / "x.pt", weights, **dims))
    assert checkpoint.shape(POSITIONS) == (1500, n_state)
    # torch's exp may differ from the true one in the last bit, which 1,500 radians turn into 6e-5 at most.
    difference = np.abs(checkpoint.weight(POSITIONS) - openai_sinusoids(1500, n_state).numpy())
    assert difference.max() <= 1e-4


def test_a_transposed_and_a_shifted_tensor_are_read_where_they_lie(tmp_path):
    weights = small_weights()
    name = "encoder.blocks.0.attn.query.weight"
    weights[name] = torch.arange(100.0)[7:71].reshape(8, 8).T
    assert not weights[name].is_contiguous()
    _assert_holds(load_checkpoint(save_content(tmp_path / "x.pt", weights)), weights)


def test_parameters_saved_as_such_are_read(tmp_path):
    weights = small_weights()
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in weights.items()}
    _assert_holds(load_checkpoint(save_content(tmp_path / "x.pt", parameters)), weights)


def test_every_pickle_protocol_that_torch_can_write_is_read(tmp_path):
    content = {"dims": small_dims().to_dict(), "model_state_dict": small_weights()}
    for protocol in (2, 3, 4, 5):
        torch.save(content, tmp_path / "x.pt", pickle_protocol=protocol)
        _assert_holds(load_checkpoint(tmp_path / "x.pt"), small_weights())


def test_float32_weights_are_read_only_views_of_the_file(tmp_path):
    checkpoint = load_checkpoint(save_small(tmp_path / "x.pt"))
    weight = checkpoint.weight("encoder.conv1.weight")
    assert not weight.flags.owndata
    assert not weight.flags.writeable
    assert np.shares_memory(weight, checkpoint.weight("encoder.conv1.weight"))


def test_a_checkpoint_stays_readable_when_its_file_is_replaced(tmp_path):
    path = save_small(tmp_path / "x.pt")
    checkpoint = load_checkpoint(path)
    save_small(tmp_path / "y.pt", n_mels=9).replace(path)
    _assert_holds(checkpoint, small_weights())


def test_loading_needs_no_torch(tmp_path):
    path = save_small(tmp_path / "x.pt")
    code = (
        "import sys, pathlib; from stagewhisper.checkpoint import load_checkpoint;"
        "load_checkpoint(pathlib.Path(sys.argv[1])).weight('encoder.conv1.weight');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0


def test_an_unknown_weight_is_named(tmp_path):
    checkpoint = load_checkpoint(save_small(tmp_path / "x.pt"))
    for ask in (checkpoint.weight, checkpoint.shape):
        with pytest.raises(CheckpointError, match=r"no weight named 'encoder\.conv3\.weight'"):
            ask("encoder.conv3.weight")


def test_a_missing_tensor_is_named(tmp_path):
    weights = small_weights()
    del weights["decoder.blocks.0.cross_attn.value.bias"]
    with pytest.raises(CheckpointError, match=r"lacks the tensor decoder\.blocks\.0\.cross_attn\.value\.bias"):
        load_checkpoint(save_content(tmp_path / "x.pt", weights))


def test_a_wrong_shape_is_named_with_what_came_and_what_was_expected(tmp_path):
    weights = small_weights() | {"decoder.ln.bias": torch.zeros(9)}
    with pytest.raises(CheckpointError, match=r"decoder\.ln\.bias has shape \(9,\); expected \(8,\)"):
        load_checkpoint(save_content(tmp_path / "x.pt", weights))


def test_a_quantised_tensor_is_named(tmp_path):
    weights = small_weights() | {"decoder.ln.bias": torch.zeros(8, dtype=torch.int8)}
    with pytest.raises(CheckpointError, match=r"decoder\.ln\.bias is of int8; expected one of float64, float32"):
        load_checkpoint(save_content(tmp_path / "x.pt", weights))


def test_one_tensor_under_many_names_is_refused(tmp_path):
    dims = {"n_audio_state": 128, "n_text_state": 128, "n_audio_layer": 8}
    shared = torch.zeros(512, 128)
    weights = small_weights(**dims) | {f"encoder.blocks.{layer}.mlp.0.weight": shared for layer in range(8)}
    with pytest.raises(CheckpointError, match="several share their bytes"):
        load_checkpoint(save_content(tmp_path / "x.pt", weights, **dims))


def test_an_adapter_left_beside_the_weights_is_refused(tmp_path):
    weights = small_weights() | {"decoder.blocks.0.attn.query.lora_A": torch.zeros(8)}
    with pytest.raises(CheckpointError, match=r"lora_A.*Merge adapters"):
        load_checkpoint(save_content(tmp_path / "x.pt", weights))


def test_another_tasks_head_is_left_out_with_a_warning(tmp_path, caplog):
    path = save_content(tmp_path / "x.pt", small_weights() | {"speaker_head.weight": torch.zeros(8)})
    with caplog.at_level(logging.WARNING):
        _assert_holds(load_checkpoint(path), small_weights())
    assert "speaker_head.weight" in caplog.text


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "nul\0byte"])
def test_a_path_that_is_not_there_says_what_is_expected(tmp_path, name):
    with pytest.raises(CheckpointError, match=r"is not there|cannot be read"):
        load_checkpoint(tmp_path / name)


def test_a_single_safetensors_file_asks_for_its_folder(tmp_path):
    with pytest.raises(CheckpointError, match="Give its folder"):
        load_checkpoint(_folder(tmp_path) / "model.safetensors")


def test_an_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json and 0 \.pt files"):
        load_checkpoint(tmp_path)
