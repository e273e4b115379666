"""The foreign graphs run, and compute what openai-whisper computes: so they are fit to test passes on."""

import numpy as np
import pytest
import torch

from tests.checkpoints import random_whisper
from tests.compiler.foreign_graphs import EXPORTS, FORMS, foreign_graph, run
from tests.logits import CLOSE


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_takes_any_batch(name: str) -> None:
    graph = foreign_graph(name)
    for n_seq in (1, 3):
        outputs = run(graph.model(), graph.inputs(n_seq=n_seq, n_past=7))
        assert all(len(output) == n_seq and np.isfinite(output).all() for output in outputs.values())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_openai_whisper(form: str) -> None:
    encoder, decoder = foreign_graph(f"{form}/encoder"), foreign_graph(f"{form}/decoder")
    whisper = random_whisper(encoder.dims)
    mel = encoder.inputs()
    tokens = decoder.inputs(n_new=4)
    given = [torch.from_numpy(array) for array in (*mel.values(), *tokens.values())]
    with torch.no_grad():
        features, logits = whisper.encoder(given[0]).numpy(), whisper.decoder(*given[1:]).numpy()
    np.testing.assert_allclose(next(iter(run(encoder.model(), mel).values())), features, atol=CLOSE)
    np.testing.assert_allclose(run(decoder.model(), tokens)["logits"], logits, atol=CLOSE)


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("openai")])
def test_a_step_continues_what_the_decoder_began(form: str) -> None:
    decoder, step = foreign_graph(f"{form}/decoder"), foreign_graph(f"{form}/decoder_with_past")
    inputs = decoder.inputs(n_new=5)
    first = inputs | {"input_ids": inputs["input_ids"][:, :4]}
    present = {k.replace("present", "past_key_values"): v for k, v in run(decoder.model(), first).items() if "." in k}
    found = run(step.model(), present | {"input_ids": inputs["input_ids"][:, 4:]})
    expected = run(decoder.model(), inputs)
    np.testing.assert_allclose(found["logits"], expected["logits"][:, 4:], atol=CLOSE)
    np.testing.assert_allclose(found["present.1.decoder.key"], expected["present.1.decoder.key"], atol=CLOSE)


@pytest.mark.parametrize("form", ["openai-dynamo", "openai-torchscript"])
def test_openais_step_continues_what_its_hooks_began(form: str) -> None:
    step = foreign_graph(f"{form}/decoder_with_past")
    whisper = random_whisper(step.dims)
    features = torch.from_numpy(foreign_graph(f"{form}/decoder").inputs()["audio_features"])
    tokens = torch.from_numpy(step.inputs(n_new=5)["tokens"])
    cache, hooks = whisper.install_kv_cache_hooks()
    with torch.no_grad():
        whisper.decoder(tokens[:, :4], features, kv_cache=cache)
        for hook in hooks:
            hook.remove()
        expected = whisper.decoder(tokens, features).numpy()[:, 4:]
    inputs = {"tokens": tokens[:, 4:].numpy()}
    for layer, block in enumerate(whisper.decoder.blocks):
        for kind, attention in (("self", block.attn), ("cross", block.cross_attn)):
            inputs[f"past_{kind}_k_{layer}"] = cache[attention.key].numpy()
            inputs[f"past_{kind}_v_{layer}"] = cache[attention.value].numpy()
    np.testing.assert_allclose(run(step.model(), inputs)["logits"], expected, atol=CLOSE)
