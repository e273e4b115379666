import json
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch
import whisper
from faster_whisper import WhisperModel
from safetensors.torch import save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from benchmarks.peer_checkpoints import PeerCheckpoints, write_peer_checkpoints
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.tokenizer import load_tokenizer
from tests.checkpoints import huggingface_config, huggingface_weights, random_dims, random_whisper

TOKENIZER = load_tokenizer(51_865)
PROMPT = TOKENIZER.sot_sequence("de", "translate", timestamps=True)
HEADS = [[1, 0], [1, 1]]
# Sums of a few hundred float32 products, added up in another order; values lie around 1.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (80, 3000)).astype(np.float32)


@pytest.fixture(scope="module")
def written(checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> PeerCheckpoints:
    """The random checkpoint, whose float32 weights fit no shorter type, in the layout of each peer."""
    return write_peer_checkpoints(load_checkpoint(checkpoint_path), tmp_path_factory.mktemp("peers"))


@pytest.fixture(scope="module")
def openai(written: PeerCheckpoints) -> whisper.Whisper:
    torch.set_num_threads(1)
    return whisper.load_model(str(written.openai), device="cpu")


@pytest.fixture(scope="module")
def huggingface(written: PeerCheckpoints) -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(written.huggingface).eval()


@pytest.fixture(scope="module")
def faster(written: PeerCheckpoints) -> WhisperModel:
    return WhisperModel(str(written.ctranslate2), device="cpu", compute_type="float32", cpu_threads=1)


def test_openai_whisper_finds_the_weights_that_the_checkpoint_holds(openai, oracle):
    expected = oracle.state_dict()
    found = openai.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@torch.no_grad()
def test_transformers_computes_the_logits_of_openai_whisper(huggingface, oracle, mel):
    batch, tokens = torch.tensor(mel)[None], torch.tensor([[*PROMPT, *range(500, 550)]])
    logits = huggingface(input_features=batch, decoder_input_ids=tokens).logits
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits.numpy(), oracle(batch, tokens).numpy(), atol=TOLERANCE)


@torch.no_grad()
def test_faster_whisper_computes_the_audio_features_of_openai_whisper(faster, oracle, mel):
    features = np.array(faster.encode(mel))
    np.testing.assert_allclose(features, oracle.embed_audio(torch.tensor(mel)[None]).numpy(), atol=TOLERANCE)


def test_all_three_decode_to_the_same_tokens(faster, huggingface, oracle, mel):
    options = whisper.DecodingOptions(task="translate", language="de", fp16=False)
    expected = list(whisper.decode(oracle, torch.tensor(mel), options).tokens)
    assert len(set(expected)) > 2  # random weights soon repeat themselves
    (theirs,) = huggingface.generate(
        torch.tensor(mel)[None],
        task="translate",
        language="de",
        return_timestamps=True,
        force_unique_generate_call=True,
    )
    assert theirs.tolist()[len(PROMPT) :][: len(expected)] == expected
    (result,) = faster.model.generate(faster.encode(mel), [PROMPT], beam_size=1, max_initial_timestamp_index=50)
    assert result.sequences_ids[0] == expected


@pytest.mark.parametrize("text", [" Half past four.", " ¿A qué distancia está el aeropuerto?", "漢字 👩‍👩‍👧"])
def test_transformers_and_faster_whisper_read_the_vocabulary(written, faster, text):
    tokens = TOKENIZER.encode(text)
    processor = WhisperProcessor.from_pretrained(written.huggingface)
    assert processor.tokenizer.encode(text, add_special_tokens=False) == tokens
    assert processor.tokenizer.decode([*PROMPT, *tokens, TOKENIZER.eot], skip_special_tokens=True) == text
    assert faster.hf_tokenizer.encode(text, add_special_tokens=False).ids == tokens


def test_a_folder_without_a_vocabulary_is_enough_and_its_alignment_heads_are_kept(tmp_path):
    dims = random_dims()
    lean = tmp_path / "lean"
    lean.mkdir()
    weights = huggingface_weights(random_whisper(dims).state_dict(), torch.float16)
    _save_lean(lean, weights, huggingface_config(dims))
    written = write_peer_checkpoints(load_checkpoint(lean), tmp_path / "peers")
    generation = json.loads((written.huggingface / "generation_config.json").read_text())
    assert generation["alignment_heads"] == HEADS
    assert json.loads((written.ctranslate2 / "config.json").read_text())["alignment_heads"] == HEADS
    assert (written.huggingface / "tokenizer.json").is_file()
    assert (written.ctranslate2 / "tokenizer.json").is_file()  # without it faster-whisper would ask the network
    assert ctranslate2.models.Whisper(str(written.ctranslate2), compute_type="float32").is_multilingual


def test_a_second_checkpoint_replaces_the_first(checkpoint_path, tmp_path):
    folder = tmp_path / "peers"
    for value in (1.0, 2.0):
        content = torch.load(checkpoint_path, weights_only=True)
        content["model_state_dict"]["decoder.ln.bias"].fill_(value)
        torch.save(content, tmp_path / "changed.pt")
        written = write_peer_checkpoints(load_checkpoint(tmp_path / "changed.pt"), folder)
        assert torch.load(written.openai, weights_only=True)["model_state_dict"]["decoder.ln.bias"][0] == value
        model = WhisperForConditionalGeneration.from_pretrained(written.huggingface)
        assert model.model.decoder.layer_norm.bias[0] == value


def _save_lean(folder: Path, weights: dict[str, torch.Tensor], config: dict[str, object]) -> None:
    """What the embedded model's folder holds."""
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": HEADS}))
