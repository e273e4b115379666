"""One checkpoint in the layout of each peer, so that all run the very same weights.

    any checkpoint ─┬─► model.pt       openai-whisper
                    ├─► huggingface/   transformers
                    └─► ctranslate2/   faster-whisper, made from huggingface/ by CTranslate2's own converter

All are float32, whatever the checkpoint is stored in: transformers computes in the type that it finds.

    python benchmarks/peer_checkpoints.py MODEL FOLDER
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.benchmarking.write_form import write_ctranslate2, write_huggingface, write_openai
from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.hub import find_model

__all__ = ["PeerCheckpoints", "write_ctranslate2", "write_huggingface", "write_openai", "write_peer_checkpoints"]


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
