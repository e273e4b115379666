"""Why a beam search came out differently: the first step at which the beams part, and the scores that were tied there.

Both programs decode the recording with 5 beams while the scores of all continuations are written down at every step.
At the first step at which the beams differ, two sequences have changed places. It is a tie where the rivals lie closer
together than the two sides do on one and the same sequence, whose many log-probabilities differ in their last bits.

    python benchmarks/ties.py RECORDING [--model MODEL]
"""

import argparse
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import whisper
import whisper.decoding
from report import store
from transcripts import load_oracle

import stagewhisper
from stagewhisper.audio import load_audio
from stagewhisper.decoding.beam_search import BeamSearch
from stagewhisper.decoding.search import Choice
from stagewhisper.hub import find_model
from stagewhisper.hub.known import EMBEDDED

Scores = dict[tuple[int, ...], float]
Step = tuple[list[tuple[int, ...]], Scores]
"""The beams after a step, and the scores of all sequences that they were chosen from."""


def our_steps(model: stagewhisper.Model, samples: np.ndarray, options: dict[str, Any]) -> list[Step]:
    """Every step of every window of our search."""
    steps: list[Step] = []
    choose, continuations = BeamSearch.choose, BeamSearch._continuations
    seen: list[Scores] = []

    def noting(self: BeamSearch, *arguments: Any) -> Any:
        found = continuations(self, *arguments)
        seen.append(dict(found[0]))
        return found

    def tracing(self: BeamSearch, sampled: np.ndarray, logits: np.ndarray) -> Choice:
        choice = choose(self, sampled, logits)
        steps.append(([tuple(row) for row in choice.tokens.tolist()], seen.pop()))
        return choice

    with patch.object(BeamSearch, "choose", tracing), patch.object(BeamSearch, "_continuations", noting):
        model.transcribe(samples, **options)
    return steps


def their_steps(oracle: whisper.Whisper, samples: np.ndarray, options: dict[str, Any]) -> list[Step]:
    """Every step of every window of openai/whisper's search, without the initial tokens."""
    steps: list[Step] = []
    update, reset = whisper.decoding.BeamSearchDecoder.update, whisper.decoding.BeamSearchDecoder.reset
    n_initial = 0

    def starting(self: Any) -> None:
        nonlocal n_initial
        reset(self)
        n_initial = 0

    def tracing(self: Any, tokens: torch.Tensor, logits: torch.Tensor, sums: torch.Tensor) -> Any:
        nonlocal n_initial
        n_initial = n_initial or tokens.shape[1]
        scores: Scores = {}
        for row, total, logprobs in zip(tokens.tolist(), sums.clone(), logits.float().log_softmax(dim=-1), strict=True):
            for value, token in zip(*logprobs.topk(self.beam_size + 1), strict=True):
                scores[(*row[n_initial:], int(token))] = float(total + value)
        chosen, completed = update(self, tokens, logits, sums)
        steps.append(([tuple(row[n_initial:]) for row in chosen.tolist()], scores))
        return chosen, completed

    decoder = whisper.decoding.BeamSearchDecoder
    with patch.object(decoder, "update", tracing), patch.object(decoder, "reset", starting):
        whisper.transcribe(oracle, samples, fp16=False, **options)
    return steps


def parting(ours: list[Step], theirs: list[Step]) -> dict[str, Any]:
    """The first step at which the beams differ, with both sides' scores of the two rivals."""
    for index, ((our_beams, our_scores), (their_beams, their_scores)) in enumerate(zip(ours, theirs, strict=False)):
        if our_beams != their_beams:
            row = next(i for i, (a, b) in enumerate(zip(our_beams, their_beams, strict=True)) if a != b)
            a, b = our_beams[row], their_beams[row]
            return {
                "step of the recording": index,
                "tokens so far": len(a),
                "beam": row,
                "rivals end with": [a[-3:], b[-3:]],
                "our scores of the rivals": [our_scores.get(a), our_scores.get(b)],
                "their scores of the rivals": [their_scores.get(a), their_scores.get(b)],
            }
    return {"steps": [len(ours), len(theirs)], "the beams never part": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("--model", default=EMBEDDED)
    arguments = parser.parse_args()
    options = {"temperature": 0.0, "beam_size": 5}
    samples = load_audio(arguments.recording)
    oracle = load_oracle(find_model(arguments.model))
    theirs = their_steps(oracle, samples, options)
    ours = our_steps(stagewhisper.load(arguments.model), samples, options)
    found = {"recording": arguments.recording.name, "model": arguments.model, **parting(ours, theirs)}
    print(json.dumps(found, indent=1))
    store("ties", found)


if __name__ == "__main__":
    main()
