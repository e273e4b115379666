"""One checkpoint in the layout of each peer, so that all run the very same weights.

    any checkpoint ─┬─► model.pt       openai-whisper
                    ├─► huggingface/   transformers
                    └─► ctranslate2/   faster-whisper, made from huggingface/ by CTranslate2's own converter

All are float32, whatever the checkpoint is stored in: transformers computes in the type that it finds.

    python benchmarks/peer_checkpoints.py MODEL FOLDER
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.hub import find_model
from stagewhisper.tokenizer import load_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.huggingface import save_huggingface


@dataclass(frozen=True)
class PeerCheckpoints:
    """Where the three forms of one checkpoint are."""

    openai: Path
    """A `.pt` file."""
    huggingface: Path
    ctranslate2: Path


def write_peer_checkpoints(checkpoint: Checkpoint, folder: Path) -> PeerCheckpoints:
    """Write all three into `folder`; what an earlier call wrote there is replaced."""
    written = PeerCheckpoints(folder / "model.pt", folder / "huggingface", folder / "ctranslate2")
    folder.mkdir(parents=True, exist_ok=True)
    write_openai(checkpoint, written.openai)
    write_huggingface(checkpoint, written.huggingface)
    write_ctranslate2(written.huggingface, written.ctranslate2)
    return written


def write_openai(checkpoint: Checkpoint, path: Path) -> None:
    """The file that `whisper.load_model` loads."""
    torch.save({"dims": checkpoint.dims.to_dict(), "model_state_dict": _weights(checkpoint)}, path)


def write_huggingface(checkpoint: Checkpoint, folder: Path) -> None:
    """The folder that transformers' `from_pretrained` loads: model, processor and vocabulary."""
    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)
    heads = checkpoint.alignment_heads
    save_huggingface(folder, checkpoint.dims, _weights(checkpoint), tokenizer, alignment_heads=heads)


def write_ctranslate2(huggingface: Path, folder: Path, *, quantization: str = "float32") -> None:
    """The folder that faster-whisper loads, made from transformers' one, in one of CTranslate2's types."""
    from ctranslate2.converters import TransformersConverter

    copied = ["tokenizer.json", "preprocessor_config.json"]  # faster-whisper would fetch them otherwise
    TransformersConverter(str(huggingface), copy_files=copied).convert(
        str(folder), quantization=quantization, force=True
    )


def _weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """All weights in float32, under openai/whisper's names."""
    return {name: torch.tensor(checkpoint.weight(name)) for name in checkpoint.weight_names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a name or a path, as for `stagewhisper transcribe --model`")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    written = write_peer_checkpoints(load_checkpoint(find_model(arguments.model)), arguments.folder)
    for path in (written.openai, written.huggingface, written.ctranslate2):
        print(path)


if __name__ == "__main__":
    main()
