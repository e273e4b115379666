"""A trained state as checkpoints that every Whisper implementation loads.

`python -m training.export WORK_FOLDER --run run` writes WORK_FOLDER/export/nano (a Hugging Face folder: safetensors,
configuration, vocabulary) and WORK_FOLDER/export/nano.pt (OpenAI's layout), both fp16.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from training.alignment_heads import find_alignment_heads, score_heads
from training.command import run
from training.corpus import read_corpus
from training.huggingface import save_huggingface
from training.model import Nano, Shape
from training.run_folder import load_model
from training.vocabulary import N_TIMESTAMPS, N_VOCAB, CompactVocabulary

_TEACHING_HEADS = ("phoneme_head.", "ctc_head.")
_TABLES = ("decoder.used", "decoder.never", "decoder.timestamp.")


def main() -> None:
    """Write both checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--run", default="run", help="name of the folder that training.train wrote")
    parser.add_argument("--to", default="export", help="name of the folder for the checkpoints")
    arguments = parser.parse_args()
    model, vocabulary, phoneme_ids = load_model(arguments.work / arguments.run)
    utterances = read_corpus(arguments.work / "corpus", ["espeak-all-0"])
    scores = score_heads(model, vocabulary, phoneme_ids, utterances)
    for layer, row in enumerate(scores.tolist()):
        print(f"layer {layer}: " + " ".join(f"{share:.3f}" for share in row))
    heads = find_alignment_heads(scores)
    weights = whisper_weights(model, vocabulary)
    folder = arguments.work / arguments.to
    folder.mkdir(exist_ok=True)
    save_openai(folder / "nano.pt", model.shape, weights)
    save_huggingface(folder / "nano", model.shape, weights, vocabulary.tokenizer, alignment_heads=heads)
    print(f"alignment heads {heads}; wrote {folder / 'nano'} and {folder / 'nano.pt'}")


def whisper_weights(model: Nano, vocabulary: CompactVocabulary) -> dict[str, Tensor]:
    """The weights under openai/whisper's names, fp16, with the full vocabulary and without the teaching heads."""
    kept = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith((*_TEACHING_HEADS, *_TABLES))
    }
    kept["decoder.token_embedding.weight"] = full_embedding(model, vocabulary)
    return {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in kept.items()}


@torch.no_grad()
def full_embedding(model: Nano, vocabulary: CompactVocabulary) -> Tensor:
    """ "n_vocab n_state": each token's row; tokens that were never used share one."""
    rows = model.decoder.embedding()
    full = rows[vocabulary.n_used].repeat(N_VOCAB, 1)
    full[list(vocabulary.used_tokens)] = rows[: vocabulary.n_used]
    full[N_VOCAB - N_TIMESTAMPS :] = rows[vocabulary.n_used + 1 :]
    return full


def save_openai(path: Path, shape: Shape, weights: Mapping[str, Tensor]) -> None:
    """Write OpenAI's `.pt` layout."""
    unfinished = path.with_suffix(".partial")
    torch.save({"dims": {**vars(shape), "n_vocab": N_VOCAB}, "model_state_dict": dict(weights)}, unfinished)
    unfinished.replace(path)


if __name__ == "__main__":
    run(main)
