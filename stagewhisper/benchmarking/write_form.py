"""A checkpoint in the form that another program reads, so that all run the very same weights.

    any checkpoint ─┬─► model.pt       openai-whisper
                    ├─► huggingface/   transformers
                    ├─► ctranslate2/   faster-whisper, made from huggingface/ by CTranslate2's own converter
                    └─► a bundle       our engine onnxruntime; TARGET is the cache

    python -m stagewhisper.benchmarking.write_form FORM SOURCE TARGET DTYPE

It runs in a process of its own, since it imports what the measuring process must not hold.
"""

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from stagewhisper.benchmarking.programs import PRECISIONS
from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.checkpoint.huggingface_documents import write_documents
from stagewhisper.checkpoint.safetensors_writer import write_safetensors
from stagewhisper.checkpoint.weight_names import huggingface_name
from stagewhisper.tokenizer import load_tokenizer


def write_openai(checkpoint: Checkpoint, path: Path, *, dtype: str = "float32") -> None:
    """The file that `whisper.load_model` loads."""
    torch = import_module("torch")
    weights = {name: torch.tensor(checkpoint.weight(name).astype(dtype)) for name in checkpoint.weight_names}
    torch.save({"dims": checkpoint.dims.to_dict(), "model_state_dict": weights}, path)


def write_huggingface(checkpoint: Checkpoint, folder: Path, *, dtype: str = "float32") -> None:
    """The folder that transformers' `from_pretrained` loads: model, processor and vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"model.{huggingface_name(name)}": name for name in checkpoint.weight_names}
    shapes = {theirs: checkpoint.shape(ours) for theirs, ours in names.items()}
    write_safetensors(
        folder / "model.safetensors", shapes, lambda theirs: checkpoint.weight(names[theirs]), dtype=dtype
    )
    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)
    heads = checkpoint.alignment_heads
    write_documents(folder, checkpoint.dims, tokenizer, dtype=dtype, alignment_heads=heads)


def write_ctranslate2(huggingface: Path, folder: Path, *, quantization: str = "float32") -> None:
    """The folder that faster-whisper loads, made from transformers' one, in one of CTranslate2's types."""
    converters = import_module("ctranslate2.converters")
    copied = ["tokenizer.json", "preprocessor_config.json"]  # faster-whisper would fetch them otherwise
    converter = converters.TransformersConverter(str(huggingface), copy_files=copied)
    converter.convert(str(folder), quantization=quantization, force=True)


def compile_bundle(source: Path, cache_dir: Path, *, dtype: str) -> dict[str, object]:
    """Where the compiled bundle is, and the seconds that it took to compile or to find it."""
    from stagewhisper.model import open_bundle

    started = time.perf_counter()
    bundle = open_bundle(source, precision=PRECISIONS[dtype], cache_dir=cache_dir)
    return {"path": str(bundle.path), "compile": time.perf_counter() - started}


def main() -> int:
    """The exit code: 0; a failure's last words are on standard error."""
    form, source, target, dtype = sys.argv[1:]
    if form == "bundle":
        sys.stdout.write(json.dumps(compile_bundle(Path(source), Path(target), dtype=dtype)) + "\n")
    elif form == "ctranslate2":
        write_ctranslate2(Path(source), Path(target), quantization=dtype)
    else:
        write = {"openai": write_openai, "huggingface": write_huggingface}[form]
        write(load_checkpoint(Path(source)), Path(target), dtype=dtype)
    return 0


if __name__ == "__main__":
    sys.exit(main())
