import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.engines.reference import ReferenceEngine
from stagewhisper.errors import CheckpointError
from stagewhisper.tokenizer import load_tokenizer
from tests.training.small_nano import SHAPE, small_nano, small_vocabulary
from training import export
from training.export import save_openai, whisper_weights
from training.huggingface import save_huggingface
from training.model import Nano
from training.run_folder import load_model, save_state, write_inventory
from training.vocabulary import N_VOCAB, CompactVocabulary

HEADS = [(0, 1), (1, 0)]


@pytest.fixture(scope="module")
def vocabulary() -> CompactVocabulary:
    return small_vocabulary()


@pytest.fixture(scope="module")
def nano(vocabulary: CompactVocabulary) -> Nano:
    return small_nano(vocabulary)


@pytest.fixture(scope="module")
def exported(nano: Nano, vocabulary: CompactVocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    weights = whisper_weights(nano, vocabulary)
    save_openai(folder / "nano.pt", nano.shape, weights)
    save_huggingface(folder / "nano", nano.shape, weights, vocabulary.tokenizer, alignment_heads=HEADS)
    return folder


@pytest.fixture(scope="module")
def mel() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (1, 80, 3000)).astype(np.float32))


@pytest.fixture(scope="module")
def rows(vocabulary: CompactVocabulary) -> list[int]:
    own = vocabulary.tokenizer
    steering = [vocabulary.row(own.sot), vocabulary.language_row("en"), vocabulary.row(own.transcribe)]
    return [
        *steering,
        vocabulary.timestamp_row(17),
        *vocabulary.rows("Turn on the light."),
        vocabulary.timestamp_row(61),
    ]


@pytest.fixture(scope="module")
def trained(nano: Nano, vocabulary: CompactVocabulary, mel: torch.Tensor, rows: list[int]) -> np.ndarray:
    """Log-probabilities of the training model: "n_tokens n_known", tokens with a row of their own alone."""
    tokens = torch.tensor([rows])
    with torch.no_grad():
        logits = nano(mel, torch.tensor([0]), tokens, torch.ones_like(tokens, dtype=torch.bool)).logits
    return without_never(logits.double().log_softmax(-1), vocabulary).numpy()


def without_never(compact: torch.Tensor, vocabulary: CompactVocabulary) -> torch.Tensor:
    return torch.cat([compact[:, : vocabulary.n_used], compact[:, vocabulary.n_used + 1 :]], -1)


def known_tokens(vocabulary: CompactVocabulary) -> list[int]:
    return [*vocabulary.used_tokens, *range(vocabulary.tokenizer.timestamp_begin, N_VOCAB)]


def tokens_of(rows: list[int], vocabulary: CompactVocabulary) -> list[int]:
    return [token for row in rows if (token := vocabulary.token(row)) is not None]


def test_openai_whisper_gives_the_training_models_log_probabilities(
    exported: Path, mel: torch.Tensor, rows: list[int], trained: np.ndarray, vocabulary: CompactVocabulary
):
    import whisper

    model = whisper.load_model(str(exported / "nano.pt"), device="cpu")
    with torch.no_grad():
        logits = model(mel, torch.tensor([tokens_of(rows, vocabulary)]))[0]
    given = logits.double().log_softmax(-1)[:, known_tokens(vocabulary)]
    # Weights are rounded to fp16, 11 bits; logits of unit size then move by a few thousandths.
    np.testing.assert_allclose(given.numpy(), trained, atol=0.01)


def test_our_reference_engine_gives_the_training_models_log_probabilities(
    exported: Path, mel: torch.Tensor, rows: list[int], trained: np.ndarray, vocabulary: CompactVocabulary
):
    engine = ReferenceEngine(load_checkpoint(exported / "nano"))
    tokens = np.array([tokens_of(rows, vocabulary)])
    output = engine.decode_step(
        tokens, engine.start(engine.encode(mel.numpy())), logit_positions=tuple(range(tokens.shape[1]))
    )
    given = torch.from_numpy(np.asarray(output.logits)).double().log_softmax(-1)[0][:, known_tokens(vocabulary)]
    np.testing.assert_allclose(given.numpy(), trained, atol=0.01)  # fp16 weights, as above


def test_both_forms_hold_the_same_weights(exported: Path):
    folder, file = load_checkpoint(exported / "nano"), load_checkpoint(exported / "nano.pt")
    assert folder.dims == file.dims
    assert folder.dims.n_vocab == N_VOCAB
    assert folder.weight_names == file.weight_names
    for name in file.weight_names:
        np.testing.assert_array_equal(folder.weight(name), file.weight(name))


def test_nothing_that_only_teaches_is_exported(nano: Nano, vocabulary: CompactVocabulary):
    weights = whisper_weights(nano, vocabulary)
    assert not [name for name in weights if "phoneme" in name or "ctc" in name or "never" in name or "used" in name]
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert weights["decoder.token_embedding.weight"].shape == (N_VOCAB, SHAPE.n_text_state)


def test_the_folder_has_the_vocabulary_and_the_alignment_heads(exported: Path):
    folder = exported / "nano"
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["alignment_heads"] == [list(head) for head in HEADS]
    own, read = load_tokenizer(N_VOCAB), load_tokenizer(N_VOCAB, folder / "tokenizer.json")
    assert read.encode("Turn on the light.") == own.encode("Turn on the light.")
    assert generation["lang_to_id"]["<|de|>"] == own.languages["de"]


def test_a_saved_training_is_loaded_as_it_was(nano: Nano, vocabulary: CompactVocabulary, tmp_path: Path):
    write_inventory(tmp_path, nano.shape, vocabulary, {name: row for row, name in enumerate(["", *"abcdef"])})
    save_state(tmp_path, nano, [], step=3)
    model, read, phoneme_ids = load_model(tmp_path)
    assert read.used_tokens == vocabulary.used_tokens
    assert list(phoneme_ids) == ["", *"abcdef"]
    for name, tensor in nano.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_a_folder_without_a_training_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path)])
    with pytest.raises(CheckpointError, match=r"No trained state in .*run"):
        export.main()
