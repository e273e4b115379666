from pathlib import Path

import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import CheckpointError
from tests.training.small_nano import SHAPE, small_nano, small_vocabulary
from training.export import whisper_weights
from training.huggingface import save_huggingface
from training.model import Nano, Shape
from training.run_folder import resume, save_state, write_inventory
from training.vocabulary import CompactVocabulary
from training.warm_start import start_from

PHONEMES = {phoneme: row for row, phoneme in enumerate(["", *"aeiouy"])}


@pytest.fixture(scope="module")
def vocabulary() -> CompactVocabulary:
    return small_vocabulary()


@pytest.fixture(scope="module")
def trained(vocabulary: CompactVocabulary) -> Nano:
    return small_nano(vocabulary)


@pytest.fixture(scope="module")
def checkpoint(trained: Nano, vocabulary: CompactVocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    weights = whisper_weights(trained, vocabulary)
    save_huggingface(folder, trained.shape, weights, vocabulary.tokenizer, alignment_heads=[(0, 0)])
    return folder


def log_probabilities(model: Nano) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    mel = torch.rand(2, 80, 200, generator=generator) * 2 - 1
    tokens = torch.randint(0, model.decoder.used.shape[0], (2, 9), generator=generator)
    with torch.no_grad():
        return model(mel, torch.tensor([0, 700]), tokens, tokens >= 0).logits.log_softmax(-1)


def test_a_model_started_from_its_checkpoint_predicts_as_before(
    checkpoint: Path, trained: Nano, vocabulary: CompactVocabulary
):
    model = small_nano(vocabulary, seed=1)
    assert not torch.allclose(log_probabilities(model), log_probabilities(trained), atol=0.5)

    start_from(checkpoint, model, vocabulary, PHONEMES)

    # Weights are rounded to fp16, 11 bits; logits of unit size then move by a few thousandths.
    torch.testing.assert_close(log_probabilities(model), log_probabilities(trained), atol=0.02, rtol=0)


def test_a_token_that_is_new_begins_with_the_shared_row(checkpoint: Path, vocabulary: CompactVocabulary):
    new = vocabulary.tokenizer.encode(" butterfly")[0]
    assert new not in vocabulary.used_tokens
    larger = CompactVocabulary([*vocabulary.used_tokens, new])
    model = Nano(SHAPE, n_used=larger.n_used, n_unused=larger.n_unused, n_phonemes=7)

    start_from(checkpoint, model, larger, PHONEMES)

    torch.testing.assert_close(model.decoder.used[larger.row(new)], model.decoder.never[0])


def test_a_checkpoint_of_another_shape_is_refused(checkpoint: Path, vocabulary: CompactVocabulary):
    wider = Nano(Shape(n_audio_state=64), n_used=vocabulary.n_used, n_unused=vocabulary.n_unused, n_phonemes=7)
    with pytest.raises(CheckpointError, match="shape"):
        start_from(checkpoint, wider, vocabulary, PHONEMES)


class TestState:
    """A training's state, whose inventory says what its rows stand for."""

    @pytest.fixture
    def state(self, trained: Nano, vocabulary: CompactVocabulary, tmp_path: Path) -> Path:
        save_state(tmp_path, trained, [], 5)
        write_inventory(tmp_path, trained.shape, vocabulary, PHONEMES)
        return tmp_path / "state.pt"

    def test_a_state_with_the_same_rows_is_gone_on_with(
        self, state: Path, trained: Nano, vocabulary: CompactVocabulary
    ):
        model = small_nano(vocabulary, seed=1)
        assert resume(state.parent, model, [], vocabulary, PHONEMES) == 5
        assert torch.equal(log_probabilities(model), log_probabilities(trained))
        model = small_nano(vocabulary, seed=1)
        start_from(state, model, vocabulary, PHONEMES)
        assert torch.equal(log_probabilities(model), log_probabilities(trained))

    def test_as_many_other_tokens_are_refused(self, state: Path, vocabulary: CompactVocabulary):
        old, new = (vocabulary.tokenizer.encode(text)[0] for text in (" light", " butterfly"))
        other = CompactVocabulary([*(token for token in vocabulary.used_tokens if token != old), new])
        assert other.n_used == vocabulary.n_used
        self.refused(state, other, PHONEMES, what="tokens")

    def test_more_tokens_are_refused(self, state: Path, vocabulary: CompactVocabulary):
        new = vocabulary.tokenizer.encode(" butterfly")[0]
        self.refused(state, CompactVocabulary([*vocabulary.used_tokens, new]), PHONEMES, what="tokens")

    def test_phonemes_in_another_order_are_refused(self, state: Path, vocabulary: CompactVocabulary):
        other = {phoneme: row for row, phoneme in enumerate(["", *"yeioua"])}
        self.refused(state, vocabulary, other, what="phonemes")

    def refused(self, state: Path, vocabulary: CompactVocabulary, phonemes: dict[str, int], *, what: str) -> None:
        model = small_nano(vocabulary, seed=1)
        before = log_probabilities(model)
        with pytest.raises(CheckpointError, match=rf"state\.pt was trained with other {what} than the corpus has now"):
            resume(state.parent, model, [], vocabulary, phonemes)
        with pytest.raises(CheckpointError, match=f"other {what}"):
            start_from(state, model, vocabulary, phonemes)
        assert torch.equal(log_probabilities(model), before)

    def test_a_state_without_an_inventory_is_refused(self, state: Path, vocabulary: CompactVocabulary):
        (state.parent / "inventory.json").unlink()
        with pytest.raises(CheckpointError, match=r"What the rows of .*state\.pt stand for is not known"):
            start_from(state, small_nano(vocabulary), vocabulary, PHONEMES)
