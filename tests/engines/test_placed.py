"""Encoder and decoder on engines of their own write what one engine writes."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.checkpoint import ModelDims, load_checkpoint
from stagewhisper.cli import main
from stagewhisper.compiler import compiled
from stagewhisper.decoding import DecodingOptions, decode
from stagewhisper.engines import ENGINES, Engine, Generates, PlacedEngine
from stagewhisper.engines.reference import ReferenceEngine
from stagewhisper.errors import EngineError, OptionError
from stagewhisper.hub.known import EMBEDDED, embedded_path
from stagewhisper.mel import N_FRAMES, MelSpectrogram
from tests.sample import SAMPLE, SAMPLE_TEXT

NEEDS = {"jax": "jax", "pytorch": "torch"}
NAMES = ENGINES.names()
PAIRS = [(encoder, decoder) for encoder in NAMES for decoder in NAMES]

CLOSE = 1e-3
"""Float32 sums in another order, through all layers of encoder and decoder: logits are of size 10."""

Get = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def get(cache_dir: Path) -> Get:
    """nano's engine of that name, the whole of it or one side; each is made once."""

    @cache
    def made(name: str, part: str) -> Any:
        pytest.importorskip(NEEDS.get(name, "numpy"), reason=f"the engine {name!r} needs it")
        engine_class: Any = ENGINES.get(name)
        checkpoint = load_checkpoint(embedded_path())
        source = checkpoint if engine_class.reads == "checkpoint" else compiled(checkpoint, cache_dir=cache_dir)
        return engine_class(source, device="cpu", threads=None, part=part)

    return made


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """The sample, and the sample played backwards: something that is no speech and yet no silence."""
    samples, n_mels = load_audio(SAMPLE), load_checkpoint(embedded_path()).dims.n_mels
    mels = [MelSpectrogram(one, n_mels) for one in (samples, np.ascontiguousarray(samples[::-1]))]
    return np.stack([mel.window(0, N_FRAMES) for mel in mels])


def tokens_and_logits(engine: Any, windows: np.ndarray, tokenizer: Any) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """What is decoded greedily, and the logits of a prompt and two steps."""
    features = engine.encode(windows)
    options = DecodingOptions(language="en", sample_len=30)
    results = decode(engine, features, tokenizer=tokenizer, options=options, n_audio=len(windows))
    prompt = np.array([tokenizer.sot_sequence("en", "transcribe", timestamps=True)] * len(windows))
    output = engine.decode_step(prompt, engine.start(features), logit_positions=range(prompt.shape[1]))
    logits = [output.logits]
    for token in (tokenizer.timestamp_begin, 400):
        output = engine.decode_step(np.full((len(windows), 1), token), output.cache)
        logits.append(output.logits)
    return [result.tokens for result in results], np.concatenate(logits, axis=1)


@pytest.fixture(scope="module")
def expected(get: Get, windows: np.ndarray, nano: stagewhisper.Model) -> Callable[[str], Any]:
    """What one engine makes of the windows by itself."""
    return cache(lambda name: tokens_and_logits(get(name, "whole"), windows, nano.tokenizer))


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_two_engines_write_what_one_writes(
    get: Get,
    expected: Callable[[str], Any],
    windows: np.ndarray,
    nano: stagewhisper.Model,
    encoder: str,
    decoder: str,
) -> None:
    placed = PlacedEngine(encoder=get(encoder, "encoder"), decoder=get(decoder, "decoder"))
    assert isinstance(placed, Engine)
    assert isinstance(placed, Generates) == isinstance(get(decoder, "whole"), Generates)
    tokens, logits = tokens_and_logits(placed, windows, nano.tokenizer)
    for single in (encoder, decoder):
        assert tokens == expected(single)[0]
        np.testing.assert_allclose(logits, expected(single)[1], atol=CLOSE)
    assert nano.tokenizer.decode([token for token in tokens[0] if token < nano.tokenizer.eot]).strip() == SAMPLE_TEXT


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("quantised", ["encoder", "decoder", "both"])
def test_a_quantised_side_goes_with_one_in_float(cache_dir: Path, precision: str, quantised: str) -> None:
    given: dict[str, dict[str, Any]] = {
        "encoder": {"engine": "pytorch", "encoder_engine": "onnxruntime", "encoder_precision": precision},
        "decoder": {"engine": "onnxruntime", "encoder_engine": "pytorch", "precision": precision},
        "both": {"encoder_device": "cpu", "precision": precision},  # one engine, but cut in two
    }
    model = stagewhisper.load(EMBEDDED, cache_dir=cache_dir, threads=1, **given[quantised])
    assert isinstance(model.engine, PlacedEngine)
    found = model.transcribe(SAMPLE, language="en", beam_size=2)
    assert found.text.strip() == SAMPLE_TEXT
    if quantised == "both":
        whole = stagewhisper.load(EMBEDDED, cache_dir=cache_dir, threads=1, precision=precision)
        assert found == whole.transcribe(SAMPLE, language="en", beam_size=2)


def test_models_of_different_shapes_are_refused_with_what_differs() -> None:
    one, other = (ModelDims(80, 50, 16, 2, 1, 51_865, 64, 16, n_head, n_layer) for n_head, n_layer in ((2, 1), (4, 3)))
    with pytest.raises(
        EngineError, match=r"have n_text_head 2 and 4, n_text_layer 1 and 3\. Give both engines one model"
    ):
        PlacedEngine(encoder=_reference(one), decoder=_reference(other))
    assert PlacedEngine(encoder=_reference(one), decoder=_reference(one)).dims == one


def _reference(dims: ModelDims) -> ReferenceEngine:
    engine = ReferenceEngine.__new__(ReferenceEngine)
    engine._dims = dims
    return engine


@pytest.mark.parametrize(
    "options",
    [
        {"encoder_engine": "onnxruntime"},
        {"encoder_precision": "fp32", "precision": "fp32"},
        {"engine": "reference", "encoder_engine": "reference", "device": "cpu"},
    ],
    ids=repr,
)
def test_an_encoder_that_is_asked_for_nothing_else_is_the_decoders_engines(
    cache_dir: Path, options: dict[str, Any]
) -> None:
    model = stagewhisper.load(EMBEDDED, cache_dir=cache_dir, **options)
    assert not isinstance(model.engine, PlacedEngine)


def test_what_is_left_out_is_the_decoders_choice_on_its_engine_only(cache_dir: Path) -> None:
    torch = pytest.importorskip("torch")

    def dtype_of_encoder(**options: Any) -> Any:
        engine: Any = stagewhisper.load(EMBEDDED, cache_dir=cache_dir, **options).engine
        return engine._encoder._models[0].weights.dtype

    assert dtype_of_encoder(engine="pytorch", precision="bf16", encoder_device="cpu") is torch.bfloat16
    assert dtype_of_encoder(precision="int8", encoder_engine="pytorch") is torch.float32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"encoder_engine": "onnx"}, OptionError, "No engine named 'onnx'. Known: .*onnxruntime"),
        ({"encoder_precision": "int3"}, EngineError, "No precision named 'int3'. Known: fp32"),
        (
            {"encoder_engine": "reference", "encoder_precision": "int8"},
            EngineError,
            "'reference' computes in fp32 only",
        ),
        ({"encoder_device": "abacus"}, EngineError, "'onnxruntime' runs on the device 'cpu' only, not on 'abacus'"),
        ({"encoder_engine": "reference", "encoder_device": "cuda"}, EngineError, "'reference' runs on .*not on 'cuda'"),
    ],
    ids=repr,
)
def test_the_encoders_options_are_refused_as_the_decoders_are(
    cache_dir: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stagewhisper.load(EMBEDDED, cache_dir=cache_dir, **options)


def test_a_framework_that_is_missing_is_named_with_the_way_to_get_it(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("stagewhisper.engines.pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(OptionError, match=r"'pytorch' needs the package 'torch'.*pip install '\.\[torch\]'"):
        stagewhisper.load(EMBEDDED, encoder_engine="pytorch", cache_dir=cache_dir)


class _Undivided:
    """An engine from elsewhere that knows nothing of parts."""

    reads = "checkpoint"


def test_an_engine_that_cannot_be_divided_is_refused_before_a_model_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = ENGINES.get
    monkeypatch.setattr(ENGINES, "get", lambda name: _Undivided if name == "elsewhere" else known(name))
    with pytest.raises(EngineError, match=r"'elsewhere' runs whole models only\. Choose another"):
        stagewhisper.load("no such model", engine="onnxruntime", encoder_engine="elsewhere")


def test_a_bundle_gives_its_halves_to_onnx_runtime_alone(cache_dir: Path) -> None:
    bundle = compiled(load_checkpoint(embedded_path()), cache_dir=cache_dir).path
    assert stagewhisper.load(bundle, encoder_device="cpu").transcribe(SAMPLE, language="en").text.strip() == SAMPLE_TEXT
    with pytest.raises(EngineError, match=r"compiled for ONNX Runtime.*Give the engine 'reference' the checkpoint"):
        stagewhisper.load(bundle, encoder_engine="reference")


def test_only_placement_takes_the_time_to_import_what_cuts_graphs(cache_dir: Path) -> None:
    compiled(load_checkpoint(embedded_path()), cache_dir=cache_dir)
    program = (
        "import json, sys, stagewhisper\n"
        "stagewhisper.load('nano', cache_dir=sys.argv[1], **json.loads(sys.argv[2]))\n"
        "print('onnx_ir' in sys.modules)"
    )
    for options, is_imported in (({}, False), ({"encoder_device": "cpu"}, True)):
        arguments = [sys.executable, "-c", program, str(cache_dir), json.dumps(options)]
        assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == f"{is_imported}\n"


def test_the_command_line_places_the_encoder(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the engine 'pytorch' needs it")
    monkeypatch.setenv("STAGEWHISPER_CACHE", str(cache_dir))
    placed: list[PlacedEngine[Any, Any]] = []
    encode = PlacedEngine.encode

    def noted(self: PlacedEngine[Any, Any], mel: np.ndarray) -> Any:
        placed.append(self)
        return encode(self, mel)

    monkeypatch.setattr(PlacedEngine, "encode", noted)
    arguments = ["transcribe", str(SAMPLE), "--model", EMBEDDED, "--threads", "1"]
    assert (
        main([*arguments, "--encoder-engine", "pytorch", "--encoder-dtype", "float32", "--engine", "onnxruntime"]) == 0
    )
    assert capsys.readouterr().out.strip() == SAMPLE_TEXT
    assert [type(one).__name__ for one in (placed[0]._encoder, placed[0]._decoder)] == [
        "PyTorchEngine",
        "OnnxRuntimeEngine",
    ]


def test_the_command_line_refuses_an_engine_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(SAMPLE), "--model", EMBEDDED, "--encoder-engine", "abacus"]) == 2
    assert "No engine named 'abacus'. Known: jax, onnxruntime" in capsys.readouterr().err
