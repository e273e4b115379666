"""One random checkpoint of a true shape, in the form of every peer; made once and kept in the work folder.

Weights are random and scaled as trained ones are (see `logits.py`), with one change: the embeddings of the special
tokens are close to zero, so that their logits are, too, and nobody ever ends a window or sets a timestamp. So every
program decodes as many tokens as it is allowed to, and does nothing to achieve it.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from logits import SHAPES, random_whisper
from peer_checkpoints import write_ctranslate2, write_huggingface
from peer_environments import python_of
from peer_olive import graphs_by_olive
from peer_whisper_cpp import quantised_ggml, write_ggml
from whisper.model import ModelDimensions

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler import compiled, load_recipe

WORKERS = Path(__file__).parent / "peer_workers"
TRUE_SHAPES = {
    "tiny": SHAPES["tiny"],
    "base": SHAPES["base"],
    "small": ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12),
}
FIRST_SPECIAL = 50257
"""The end of text; all tokens from here on are special."""


@dataclass(frozen=True)
class Source:
    """The checkpoint that all forms are made of, and where they go."""

    folder: Path
    work: Path

    @property
    def openai(self) -> Path:
        return self.folder / "model.pt"

    @property
    def huggingface(self) -> Path:
        return self.folder / "huggingface"


@dataclass(frozen=True)
class Form:
    """A checkpoint in one peer's form."""

    model: str
    """What its worker loads."""
    files: tuple[Path, ...]
    """What of it lies on the disk."""


def write_source(shape: str, *, work: Path) -> Source:
    """The checkpoint itself, and transformers' form of it, which most others are made of."""
    source = Source(work / "models" / shape, work)
    source.folder.mkdir(parents=True, exist_ok=True)

    def write_weights(path: Path) -> None:
        model = random_whisper(TRUE_SHAPES[shape], seed=0)
        with torch.no_grad():
            model.decoder.token_embedding.weight[FIRST_SPECIAL:] *= 0.01
        torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, path)

    _once(source.openai, write_weights)
    _once(source.huggingface, lambda path: write_huggingface(load_checkpoint(source.openai), path))
    return source


def our_bundle(source: Source, recipe: str) -> Form:
    """Compiled anew whenever the compiler has changed."""
    bundle = compiled(load_checkpoint(source.openai), recipe=load_recipe(recipe), cache_dir=source.work / "bundles")
    return Form(str(bundle.path), (bundle.path,))


def openai_file(source: Source) -> Form:
    return Form(str(source.openai), (source.openai,))


def transformers_folder(source: Source) -> Form:
    return Form(str(source.huggingface), (source.huggingface,))


def ctranslate2_folder(source: Source, compute_type: str) -> Form:
    """Converted in float32 or with weights in int8 already."""
    folder = source.folder / f"ctranslate2-{compute_type}"
    _once(folder, lambda path: write_ctranslate2(source.huggingface, path, quantization=compute_type))
    return Form(f"{folder}+{compute_type}", (folder,))


def ggml_file(source: Source, kind: str) -> Form:
    """whisper.cpp's own converter's file in float16, or what its own tool quantises it to."""
    half = source.folder / "ggml-f16.bin"
    _once(half, lambda path: write_ggml(source.openai, path, work=source.work))
    file = source.folder / f"ggml-{kind}.bin"
    if kind != "f16":
        _once(file, lambda path: quantised_ggml(half, path, kind=kind, work=source.work))
    return Form(str(file), (file,))


def openvino_folder(source: Source) -> Form:
    """Exported by optimum-intel with weights in int8, which is what OpenVINO's documents tell to do."""
    folder = source.folder / "openvino-int8"
    optimum = python_of("openvino", work=source.work).with_name("optimum-cli")
    task = ("--task", "automatic-speech-recognition-with-past")
    command = [str(optimum), "export", "openvino", "--model", str(source.huggingface), *task, "--weight-format", "int8"]
    _once(folder, lambda path: _run([*command, str(path)]))
    return Form(str(folder), (folder,))


def optimum_graphs(source: Source, suffix: str) -> Form:
    """optimum's export, in float32 or, with the suffix "_quantized", dynamically quantised by optimum."""
    folder = source.folder / "optimum"
    python = python_of("optimum", work=source.work)
    _once(
        folder,
        lambda path: _run([str(python), str(WORKERS / "convert_optimum.py"), str(source.huggingface), str(path)]),
    )
    return exported_graphs(folder, suffix)


def optimum_weights(source: Source) -> Form:
    """optimum's export with weights in int8 by ONNX Runtime itself."""
    optimum_graphs(source, "")
    python, script = python_of("optimum", work=source.work), WORKERS / "quantise_weights.py"
    folder = source.folder / "optimum-weights"
    _once(folder, lambda path: _run([str(python), str(script), str(source.folder / "optimum"), str(path)]))
    return exported_graphs(folder, "")


def olive_graphs(source: Source) -> Form:
    """optimum's export after Olive's passes for CPUs, int8 weights among them."""
    optimum_graphs(source, "")
    optimum, folder = source.folder / "optimum", source.folder / "olive"

    def write(path: Path) -> None:
        graphs_by_olive(optimum, path, work=source.work)
        for name in ("tokenizer.json", "config.json"):
            shutil.copy(optimum / name, path / name)

    _once(folder, write)
    return exported_graphs(folder, "")


def exported_graphs(folder: Path, suffix: str) -> Form:
    """Three graphs in optimum's form, with what belongs to them."""
    graphs = [f"{name}{suffix}.onnx" for name in ("encoder_model", "decoder_model", "decoder_with_past_model")]
    weights = [folder / f"{graph}{end}" for graph in graphs for end in ("_data", ".data")]
    files = [folder / graph for graph in graphs] + [file for file in weights if file.exists()]
    return Form(f"{folder}+{suffix}", (*files, folder / "tokenizer.json", folder / "config.json"))


def bytes_on_disk(form: Form) -> int:
    """Of all its files."""
    files = [file for path in form.files for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def _once(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a place beside `path` and move it there, unless that was done before."""
    if path.exists():
        return
    print(f"Making {path} …", flush=True)
    unfinished = path.with_name(f"unfinished-{path.name}")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    write(unfinished)
    unfinished.rename(path)


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr[-3000:]}")
