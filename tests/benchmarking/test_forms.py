import numpy as np
import pytest
import torch
import whisper

from stagewhisper.benchmarking.forms import FormError, form_of, identity
from stagewhisper.benchmarking.random_checkpoint import SHAPES, random_checkpoint, write_random
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.checkpoint.weight_names import weight_shapes
from stagewhisper.errors import OptionError
from stagewhisper.hub.known import embedded_path
from tests.checkpoints import random_dims

NANO = embedded_path()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A random checkpoint of a small shape."""
    folder = tmp_path_factory.mktemp("random") / "small"
    write_random(folder, random_dims(n_text_layer=1, n_audio_layer=1))
    return folder


def test_a_random_checkpoint_has_every_weight_and_is_the_same_every_time(made, tmp_path):
    checkpoint = load_checkpoint(made)
    assert checkpoint.dims == random_dims(n_text_layer=1, n_audio_layer=1)
    assert (set(checkpoint.weight_names), checkpoint.stored_dtype) == (set(weight_shapes(checkpoint.dims)), "float16")
    write_random(tmp_path / "again", checkpoint.dims)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()


def test_special_tokens_are_never_probable(made):
    embedding = load_checkpoint(made).weight("decoder.token_embedding.weight")
    norms = np.linalg.norm(embedding, axis=1)
    assert norms[50_257:].max() < 0.05 < 0.5 < norms[:50_257].min()


def test_an_unknown_shape_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"No shape named .huge.\. Known: tiny, base"):
        random_checkpoint("huge", cache_dir=tmp_path)
    assert all(dims.n_text_ctx == 448 for dims in SHAPES.values())


def test_a_form_is_written_once_and_holds_the_same_weights(tmp_path):
    found = form_of(NANO, "openai", dtype="float32", cache_dir=tmp_path, bundles=tmp_path)
    written = found.path.stat().st_mtime_ns
    again = form_of(NANO, "openai", dtype="float32", cache_dir=tmp_path, bundles=tmp_path)
    assert (again, again.path.stat().st_mtime_ns, found.compile) == (found, written, None)
    model = whisper.load_model(str(found.path), device="cpu")
    bias = load_checkpoint(NANO).weight("decoder.ln.bias")
    assert torch.equal(model.decoder.ln.bias, torch.tensor(bias))


def test_what_has_the_form_already_is_taken_as_it_is(made, tmp_path):
    assert form_of(made, "huggingface", dtype="float32", cache_dir=tmp_path, bundles=tmp_path).path == made
    assert form_of(NANO, "source", dtype="float32", cache_dir=tmp_path, bundles=tmp_path).path == NANO
    assert list(tmp_path.iterdir()) == []


def test_a_form_that_cannot_be_written_tells_why(tmp_path):
    with pytest.raises(FormError, match=r"ctranslate2.*float99"):
        form_of(NANO, "ctranslate2", dtype="float99", cache_dir=tmp_path, bundles=tmp_path)


def test_another_time_of_a_file_is_another_identity(tmp_path):
    (tmp_path / "a").write_text("x")
    before = identity([tmp_path])
    assert identity([tmp_path]) == before
    (tmp_path / "a").write_text("xy")
    assert identity([tmp_path]) != before
