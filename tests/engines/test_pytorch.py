"""What only the PyTorch engine does: devices, types, steps of fixed shapes, batches over several devices."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagewhisper
from stagewhisper.checkpoint import Checkpoint, ModelDims
from stagewhisper.checkpoint.stored_tensor import StoredTensor, contiguous_strides
from stagewhisper.engines import ENGINES, AnyEngine
from stagewhisper.engines.pytorch import PyTorchEngine
from stagewhisper.engines.pytorch_devices import find_devices, find_dtype
from stagewhisper.engines.reference import ReferenceEngine
from stagewhisper.errors import EngineError, OptionError
from stagewhisper.hub.known import EMBEDDED
from tests.engines.jax_sample import MadeUp
from tests.logits import CLOSE, our_logits, random_mel, random_tokens

SHAPE = {
    "n_mels": 80,
    "n_audio_ctx": 40,
    "n_audio_state": 64,
    "n_audio_head": 4,
    "n_audio_layer": 2,
    "n_vocab": 1003,
    "n_text_ctx": 96,
    "n_text_state": 64,
    "n_text_head": 2,
    "n_text_layer": 2,
}
DIMS = ModelDims(**SHAPE)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # more of them wait for each other where other programs keep the cores busy


def reference(weights: MadeUp) -> ReferenceEngine:
    """The reference engine with the same weights."""
    tensors = {}
    for name in weights.weight_names:
        values = weights.weight(name)
        tensors[name] = StoredTensor("float32", values.shape, contiguous_strides(values.shape), 0, values.tobytes())
    return ReferenceEngine(Checkpoint(weights.dims, Path("made up"), (), None, None, "float32", tensors))


def fixed(engine: PyTorchEngine) -> PyTorchEngine:
    """The engine with the steps that a GPU records, done one by one."""
    for model in engine._models:
        model._has_fixed_steps = True
    return engine


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_mels": 128, "n_vocab": 1024}, {"n_text_layer": 1, "n_audio_layer": 3}, {"n_text_head": 1}],
    ids=repr,
)
def test_pytorch_equals_the_reference(changes: dict[str, int]) -> None:
    checkpoint = MadeUp(ModelDims(**(SHAPE | changes)), seed=1)
    mel, tokens = random_mel(checkpoint.dims, 2), random_tokens(checkpoint.dims, 4, 9)
    expected = our_logits(reference(checkpoint), mel, tokens, calls=(5, 1, 3))
    engine = PyTorchEngine(checkpoint)
    np.testing.assert_allclose(our_logits(engine, mel, tokens, calls=(5, 1, 3)), expected, atol=CLOSE)


def test_steps_of_fixed_shapes_equal_those_of_growing_ones() -> None:
    """On both sides of the borders between lengths, and at the last position."""
    mel, tokens = random_mel(DIMS, 2), random_tokens(DIMS, 6, DIMS.n_text_ctx)
    calls = (62, 1, 1, 1, 29, 1, 1)
    assert sum(calls) == DIMS.n_text_ctx
    expected = our_logits(PyTorchEngine(MadeUp(DIMS)), mel, tokens, calls=calls)
    found = our_logits(fixed(PyTorchEngine(MadeUp(DIMS))), mel, tokens, calls=calls)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@pytest.mark.parametrize("is_fixed", [False, True])
def test_beams_move_within_their_windows(is_fixed: bool) -> None:
    ours = PyTorchEngine(MadeUp(DIMS))
    engines: list[AnyEngine] = [fixed(ours) if is_fixed else ours, reference(MadeUp(DIMS))]
    mel, prompt, following = random_mel(DIMS, 2), random_tokens(DIMS, 2, 4), random_tokens(DIMS, 6, 3, seed=2)
    logits = []
    for engine in engines:
        cache: Any = engine.decode_step(prompt, engine.start(engine.encode(mel))).cache
        cache = engine.reorder(cache, [0, 0, 0, 1, 1, 1])
        for step, order in enumerate([[2, 0, 1, 3, 3, 5], [1, 1, 1, 5, 4, 3], [0, 1, 2, 3, 4, 5]]):
            output = engine.decode_step(following[:, step : step + 1], cache)
            cache = engine.reorder(output.cache, order)
        logits.append(output.logits)
    np.testing.assert_allclose(logits[0], logits[1], atol=CLOSE)


@pytest.mark.parametrize(("precision", "n_digits"), [("bf16", 8), ("fp16", 11)])
def test_half_precision_is_as_near_as_its_digits_allow(precision: str, n_digits: int) -> None:
    mel, tokens = random_mel(DIMS), random_tokens(DIMS, 2, 8)
    expected = our_logits(PyTorchEngine(MadeUp(DIMS)), mel, tokens, calls=(6, 1, 1))
    found = our_logits(PyTorchEngine(MadeUp(DIMS), precision=precision), mel, tokens, calls=(6, 1, 1))
    assert found.dtype == np.float32
    # Logits have a standard deviation of 2; each layer rounds some times to that many binary digits.
    assert np.abs(found - expected).std() < 2 * 8 * 2.0**-n_digits
    assert np.abs(found - expected).max() > CLOSE


def test_several_devices_share_a_batch() -> None:
    mel, tokens = random_mel(DIMS, 3), random_tokens(DIMS, 6, 8)
    expected = our_logits(PyTorchEngine(MadeUp(DIMS)), mel, tokens, calls=(5, 1, 2))
    engine = PyTorchEngine(MadeUp(DIMS), device="cpu,cpu")
    np.testing.assert_allclose(our_logits(engine, mel, tokens, calls=(5, 1, 2)), expected, atol=CLOSE)
    assert [share.n_audio for share in engine.encode(mel).shares] == [2, 1]
    found, single = engine.audio_features(mel), PyTorchEngine(MadeUp(DIMS)).audio_features(mel)
    np.testing.assert_allclose(found, single, atol=CLOSE)
    assert [share.n_audio for share in engine.project(found).shares] == [2, 1]
    alone = our_logits(engine, mel[:1], tokens[:2])
    np.testing.assert_allclose(alone, our_logits(PyTorchEngine(MadeUp(DIMS)), mel[:1], tokens[:2]), atol=CLOSE)


def test_what_a_damaged_window_leaves_in_the_buffers_is_forgotten() -> None:
    engine = fixed(PyTorchEngine(MadeUp(DIMS)))
    mel, tokens = random_mel(DIMS), random_tokens(DIMS, 1, 6)
    expected = our_logits(engine, mel, tokens, calls=(4, 1, 1))
    assert np.isnan(our_logits(engine, np.full_like(mel, np.nan), tokens, calls=(4, 1, 1))).all()
    np.testing.assert_array_equal(our_logits(engine, mel, tokens, calls=(4, 1, 1)), expected)


def test_recorded_buffers_are_used_again_once_nobody_holds_them() -> None:
    engine = fixed(PyTorchEngine(MadeUp(DIMS)))
    features = engine.encode(random_mel(DIMS))
    first, second = engine.start(features), engine.start(features)
    steps = first.shares[0].memory.steps
    assert steps is not second.shares[0].memory.steps
    del first
    assert engine.start(features).shares[0].memory.steps is steps
    for n_audio in range(1, 8):
        engine.start(engine.encode(random_mel(DIMS, n_audio)))
    assert sum(map(len, engine._models[0]._idle.values())) <= 4


@pytest.mark.parametrize("name", ["abacus", "", "cpu,abacus", "cuda:99", "cpu;cpu", "CPU"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(EngineError, match=r"'pytorch' runs here on 'cpu'.* only, not on '"):
        find_devices(name)


def test_without_a_gpu_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(EngineError, match=r"not on 'cuda'\. This torch was built without CUDA"):
        find_devices("cuda")
    with pytest.raises(EngineError, match="not on 'cuda:all'"):
        find_devices("cuda:all")


def test_names_of_gpus_stand_for_one_or_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert list(map(str, find_devices("cuda"))) == ["cuda:0"]
    assert list(map(str, find_devices("cuda:1, cuda:0"))) == ["cuda:1", "cuda:0"]
    assert list(map(str, find_devices("cuda:all"))) == ["cuda:0", "cuda:1"]
    assert find_dtype(None, torch.device("cuda:0")) is torch.float16
    assert find_dtype(None, torch.device("cpu")) is torch.float32


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(EngineError, match=r"computes in fp32, fp16, bf16, not in 'int8'"):
        find_dtype("int8", torch.device("cpu"))
    with pytest.raises(EngineError, match=r"'pytorch' computes in fp32, fp16, bf16 only, not in int8"):
        stagewhisper.load(EMBEDDED, engine="pytorch", precision="int8")


def test_without_torch_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("stagewhisper.engines.pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OptionError, match=r"'pytorch' needs the package 'torch'.*pip install '\.\[torch\]'"):
        ENGINES.get("pytorch")
