"""Small Whisper graphs that nobody here wrote: what the exporters of torch, transformers and optimum make of Whisper.

    form                      how it is made
    openai-dynamo             torch.onnx.export of openai-whisper's modules, through torch.export
    openai-torchscript        the same through the older tracer
    transformers-dynamo       torch.onnx.export of the installed transformers' WhisperForConditionalGeneration,
    transformers-torchscript  with optimum's split into parts, and its names of inputs and outputs
    optimum                   optimum-onnx itself, in a process of its own (see `export_with_optimum.py`)

    part                      inputs → outputs
    encoder                   log-Mel windows → features
    decoder                   tokens and features → logits (transformers, optimum: and the keys and values)
    decoder_with_past         new tokens and the keys and values so far → logits and the grown keys and values

All have the same random weights, those of `random_whisper(DIMS)`. Decoders take any batch and any number of new tokens,
but for openai's decoder_with_past, which takes one. openai-whisper keeps keys and values as
[n_seq, n_past, n_text_state], transformers as [n_seq, n_head, n_past, head_dim].
"""

import contextlib
import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from whisper.model import disable_sdpa

from stagewhisper.checkpoint import ModelDims
from tests.checkpoints import random_dims, random_whisper, save_huggingface, save_openai

FORMS = ("openai-dynamo", "openai-torchscript", "transformers-dynamo", "transformers-torchscript", "optimum")
PARTS = ("encoder", "decoder", "decoder_with_past")
EXPORTS = tuple(f"{form}/{part}" for form in FORMS for part in PARTS)
"""Every foreign graph's name, for `pytest.mark.parametrize`."""

DIMS = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300)
"""Optimum's own export has 1500 frames all the same: it knows no other number."""

OPSETS = {"dynamo": 20, "torchscript": 17}
"""17 is the last opset in which the tracer takes GELU apart and the first with LayerNormalization."""


@dataclass(frozen=True)
class ForeignGraph:
    """A graph on disk, and what random inputs for it look like."""

    name: str
    path: Path
    dims: ModelDims

    def model(self) -> ir.Model:
        """The graph, newly read, so that a pass may edit it."""
        return ir.load(self.path)

    def inputs(self, *, n_seq: int = 2, n_new: int = 1, n_past: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
        """Random inputs: `n_seq` windows or sequences, `n_new` tokens each after `n_past` others."""
        sizes: dict[int | str, int] = {"batch": n_seq, "new": n_new, "past": n_past}
        generator = np.random.default_rng(seed)
        shapes = {
            value.name or "": _input_shape(self.name, value.name or "", self.dims)
            for value in self.model().graph.inputs
        }
        return {
            name: _random_input(name, [sizes.get(dim, dim) for dim in shape], self.dims, generator)
            for name, shape in shapes.items()
        }


def foreign_graph(name: str, dims: ModelDims = DIMS, *, opset: int | None = None) -> ForeignGraph:
    """The graph with a name from EXPORTS; it is exported once in a test run. Skips where a package lacks.

    `opset` is for the forms of torch.onnx.export; those of the tracer write out layer norms before opset 17.
    """
    form, part = name.split("/")
    if form == "optimum":
        dims = replace(dims, n_audio_ctx=1500)
    return ForeignGraph(name, _exported(form, part, dims, opset), dims)


def run(model: ir.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph's outputs by name, from ONNX Runtime with its own optimisations off: what we check is ours."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ir.save(model, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def op_counts(graph: ir.Graph) -> dict[str, int]:
    """How many nodes of each type the graph has; types of other domains than ONNX's are written "domain::type"."""
    counts: dict[str, int] = {}
    for node in graph:
        name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        counts[name] = counts.get(name, 0) + 1
    return counts


@functools.cache
def _exported(form: str, part: str, dims: ModelDims, opset: int | None) -> Path:
    """The part's file in this form, in a folder that goes when the test run ends."""
    if form == "optimum":
        return _exported_by_optimum(dims) / f"{part}.onnx"
    package, exporter = form.split("-")
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    module = _openai_module(part, dims) if package == "openai" else _transformers_module(part, dims)
    path = _new_folder(f"{form}-{part}") / f"{part}.onnx"
    # Neither exporter can follow openai-whisper's choice of a causal mask; users switch to its written-out attention.
    written_out = form == "openai-torchscript" or (form == "openai-dynamo" and part != "encoder")
    attention = disable_sdpa() if written_out else contextlib.nullcontext()
    with _quiet(), torch.no_grad(), attention:
        _export(module, path, f"{form}/{part}", dims, exporter, opset or OPSETS[exporter])
    return path


def _new_folder(name: str) -> Path:
    folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
    _FOLDERS.append(folder)
    return Path(folder.name)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of their own age and inner workings, which are not what is tested."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _export(module: torch.nn.Module, path: Path, name: str, dims: ModelDims, exporter: str, opset: int) -> None:
    inputs, outputs = _input_names(name, dims), _output_names(name, dims)
    shapes = {key: _input_shape(name, key, dims) for key in inputs}
    sizes: dict[int | str, int] = {"batch": 2, "new": 1 if _steps_are_single(name) else 3, "past": 5}
    generator = np.random.default_rng(0)
    example = tuple(
        torch.from_numpy(_random_input(key, [sizes.get(d, d) for d in shape], dims, generator))
        for key, shape in shapes.items()
    )
    free = {key: _free_axes(name, shape) for key, shape in shapes.items()}
    if exporter == "torchscript":
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=False,
            opset_version=opset,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=free,
        )
        return
    axes = [dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in free.values()]
    torch.onnx.export(
        module,
        example,
        path,
        dynamo=True,
        opset_version=opset,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=(axes[0], tuple(axes[1:])) if "past" in name else tuple(axes),  # *past is one parameter
        external_data=False,
        verbose=False,
    )


def _free_axes(name: str, shape: list[int | str]) -> dict[int, str]:
    axes = {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)}
    return {axis: dim for axis, dim in axes.items() if not (dim == "new" and _steps_are_single(name))}


def _steps_are_single(name: str) -> bool:
    """openai-whisper's mask knows no past, so its cached steps are one token long."""
    return name.startswith("openai") and name.endswith("with_past")


class _OpenAIEncoder(torch.nn.Module):
    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.encoder = whisper.encoder

    def forward(self, mel: torch.Tensor) -> Any:
        return self.encoder(mel)


class _OpenAIDecoder(torch.nn.Module):
    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.decoder = whisper.decoder

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> Any:
        return self.decoder(tokens, features)


class _OpenAIStep(torch.nn.Module):
    """A decoder step by openai-whisper's own cache hooks, with the cache as inputs and outputs."""

    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> Any:
        cache: dict[torch.nn.Module, torch.Tensor] = {}
        for layer, block in enumerate(self.whisper.decoder.blocks):
            places = (block.attn.key, block.attn.value, block.cross_attn.key, block.cross_attn.value)
            cache |= dict(zip(places, past[4 * layer : 4 * layer + 4], strict=True))
        cache, hooks = self.whisper.install_kv_cache_hooks(cache)
        try:
            logits = self.whisper.decoder(tokens, cache[self.whisper.decoder.blocks[0].cross_attn.key], kv_cache=cache)
        finally:
            for hook in hooks:
                hook.remove()
        blocks = self.whisper.decoder.blocks
        return logits, *(cache[place] for block in blocks for place in (block.attn.key, block.attn.value))


def _openai_module(part: str, dims: ModelDims) -> torch.nn.Module:
    classes = dict(zip(PARTS, (_OpenAIEncoder, _OpenAIDecoder, _OpenAIStep), strict=True))
    return classes[part](random_whisper(dims)).eval()


class _TransformersEncoder(torch.nn.Module):
    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.encoder = whisper.model.encoder

    def forward(self, mel: torch.Tensor) -> Any:
        return self.encoder(mel).last_hidden_state


class _TransformersDecoder(torch.nn.Module):
    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> Any:
        output = self.whisper(decoder_input_ids=tokens, encoder_outputs=(features,), use_cache=True)
        return output.logits, *_keys_and_values(output.past_key_values, cross=True)


class _TransformersStep(torch.nn.Module):
    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> Any:
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        decoder, encoder = DynamicCache(), DynamicCache()
        n_layer = len(past) // 4
        for layer in range(n_layer):
            self_k, self_v, cross_k, cross_v = past[4 * layer : 4 * layer + 4]
            decoder.update(self_k, self_v, layer)
            encoder.update(cross_k, cross_v, layer)
        cache = EncoderDecoderCache(decoder, encoder)
        cache.is_updated = dict.fromkeys(range(n_layer), True)
        n_audio_ctx, n_state = past[2].shape[2], self.whisper.config.d_model
        unread = torch.zeros(tokens.shape[0], n_audio_ctx, n_state)  # for cross-attention has its keys and values
        output = self.whisper(
            decoder_input_ids=tokens, encoder_outputs=(unread,), past_key_values=cache, use_cache=True
        )
        return output.logits, *_keys_and_values(output.past_key_values, cross=False)


def _keys_and_values(cache: Any, *, cross: bool) -> list[torch.Tensor]:
    found = []
    pairs = zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers, strict=True)
    for decoder, encoder in pairs:
        found += [decoder.keys, decoder.values]
        found += [encoder.keys, encoder.values] if cross else []
    return found


def _transformers_module(part: str, dims: ModelDims) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = _save_for_transformers(Path(folder), dims)
        whisper = transformers.WhisperForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    classes = dict(zip(PARTS, (_TransformersEncoder, _TransformersDecoder, _TransformersStep), strict=True))
    return classes[part](whisper).eval()


def _save_for_transformers(folder: Path, dims: ModelDims) -> Path:
    """The weights as a Hugging Face folder whose special tokens fit into the small vocabulary."""
    path = save_huggingface(folder / "huggingface", save_openai(folder / "openai.pt", dims))
    config = json.loads((path / "config.json").read_text())
    special = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
    config |= dict.fromkeys(special, 0) | {"suppress_tokens": None, "begin_suppress_tokens": None}
    (path / "config.json").write_text(json.dumps(config))
    return path


@functools.cache
def _exported_by_optimum(dims: ModelDims) -> Path:
    """A folder with all parts."""
    site = os.environ.get("STAGEWHISPER_TEST_OPTIMUM")
    script = Path(__file__).with_name("export_with_optimum.py")
    if not site:
        pytest.skip(
            f"STAGEWHISPER_TEST_OPTIMUM names no folder with optimum-onnx in it; {script.name} tells how to fill one"
        )
    folder = _new_folder("optimum")
    with tempfile.TemporaryDirectory() as source:
        path = _save_for_transformers(Path(source), dims)
        command = [sys.executable, str(script), str(path), str(folder)]
        finished = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": site}, capture_output=True, text=True, check=False, timeout=300
        )
    assert finished.returncode == 0, finished.stderr
    return folder


def _input_names(name: str, dims: ModelDims) -> list[str]:
    form, part = name.split("/")
    openai = form.startswith("openai")
    if part == "encoder":
        return ["mel"] if openai else ["input_features"]
    if part == "decoder":
        return ["tokens", "audio_features"] if openai else ["input_ids", "encoder_hidden_states"]
    return (["tokens"] if openai else ["input_ids"]) + _cache_names(form, dims, "past", ("decoder", "encoder"))


def _output_names(name: str, dims: ModelDims) -> list[str]:
    form, part = name.split("/")
    openai = form.startswith("openai")
    if part == "encoder":
        return ["audio_features"] if openai else ["last_hidden_state"]
    if part == "decoder":
        return ["logits"] + ([] if openai else _cache_names(form, dims, "present", ("decoder", "encoder")))
    return ["logits", *_cache_names(form, dims, "present", ("decoder",))]


def _cache_names(form: str, dims: ModelDims, time: str, sides: tuple[str, ...]) -> list[str]:
    if form.startswith("openai"):
        kinds = [f"{'self' if side == 'decoder' else 'cross'}_{kind}" for side in sides for kind in "kv"]
        return [f"{time}_{kind}_{layer}" for layer in range(dims.n_text_layer) for kind in kinds]
    time = "past_key_values" if time == "past" else time
    kinds = [f"{side}.{kind}" for side in sides for kind in ("key", "value")]
    return [f"{time}.{layer}.{kind}" for layer in range(dims.n_text_layer) for kind in kinds]


def _input_shape(name: str, key: str, dims: ModelDims) -> list[int | str]:
    """Lengths of the axes; the free ones are "batch", "new" and "past"."""
    if key in ("mel", "input_features"):
        return ["batch", dims.n_mels, 2 * dims.n_audio_ctx]
    if key in ("tokens", "input_ids"):
        return ["batch", "new"]
    if key in ("audio_features", "encoder_hidden_states"):
        return ["batch", dims.n_audio_ctx, dims.n_audio_state]
    length: int | str = dims.n_audio_ctx if ("cross" in key or "encoder" in key) else "past"
    if name.startswith("openai"):
        return ["batch", length, dims.n_text_state]
    return ["batch", dims.n_text_head, length, dims.n_text_state // dims.n_text_head]


def _random_input(key: str, shape: list[Any], dims: ModelDims, generator: np.random.Generator) -> np.ndarray:
    if key in ("tokens", "input_ids"):
        return generator.integers(0, dims.n_vocab, shape)
    return generator.standard_normal(shape).astype(np.float32)
