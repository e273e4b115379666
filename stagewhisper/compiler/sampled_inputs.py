"""What reaches the decoder's products while the model writes by itself: real inputs without a corpus.

    the project's windows ─► encoder ─► keys and values ─► decoder draws token after token, from its own probabilities
    the drawn sequences ─► decoder once more, with the inputs of its products as outputs ─► a file for each

Different sequences begin with different languages, so that a multilingual model writes in many. The texts make no
sense and need not: the model meets the words that it knows in the proportions that it gives them.

Everything is taken from the graphs before any pass, and found again by the names of their weights, which
`graph_tools.source_names` follows through what passes make of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from stagewhisper.arrays import MelBatch, Tokens
from stagewhisper.checkpoint import ModelDims
from stagewhisper.compiler.calibration import as_outputs
from stagewhisper.compiler.cases import cross_of, decoder_inputs, empty_past, graph_runner, present_as_past
from stagewhisper.compiler.contract import Arrays
from stagewhisper.compiler.equivalence import GraphRunner
from stagewhisper.compiler.linear_layers import LinearLayer, linear_layers
from stagewhisper.compiler.steps import PassStep
from stagewhisper.errors import CompilerError

N_SEQUENCES = 8
N_TOKENS = 60

CALIBRATED = "calibrated"
"""The value of a pass's parameter `rounding` that asks for sampled inputs."""

_KEY = "stagewhisper.sampled_inputs"


@dataclass(frozen=True)
class SampledInputs:
    """Inputs of products, in files."""

    folder: Path
    numbers: Mapping[str, int]
    """The file's number for each weight; several weights may be multiplied with the same input."""

    def __contains__(self, weight: str) -> bool:
        """Whether inputs are known that this weight was multiplied with."""
        return weight in self.numbers

    def of(self, weight: str) -> np.ndarray:
        """float32 [n_positions, n_in], read anew."""
        return np.asarray(np.load(self._path(self.numbers[weight]), allow_pickle=False))

    def add(self, number: int, rows: np.ndarray) -> None:
        """Write float32 [n_positions, n_in] into the file of this number.

        Raises:
            CompilerError: they are not all numbers, so nothing can be rounded for them.
        """
        if not np.isfinite(rows).all():
            raise CompilerError(
                "Some inputs of the decoder's products are not finite (NaN or infinity): the checkpoint is damaged, or "
                "its numbers are too large for float32. Choose a recipe without calibrated rounding."
            )
        np.save(self._path(number), rows, allow_pickle=False)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.npy"


def keep_sampled_inputs(graph: ir.Graph, sampled: SampledInputs) -> None:
    """Lay them where passes find them; they are not saved with the graph."""
    graph.meta[_KEY] = sampled


def sampled_inputs_of(graph: ir.Graph) -> SampledInputs | None:
    """What `keep_sampled_inputs` has laid there."""
    found = graph.meta.get(_KEY)
    return found if isinstance(found, SampledInputs) else None


def wanted_by(steps: Iterable[PassStep]) -> bool:
    """Whether any of these passes rounds for sampled inputs."""
    return any(step.parameters.get("rounding") == CALIBRATED for step in steps)


def unsampled_inputs(decoder: ir.Model, folder: Path) -> SampledInputs:
    """What there would be to sample, without the files: enough for passes whose weights are never computed."""
    layers = list(linear_layers(decoder.graph))
    numbers = {id(value): number for number, value in enumerate(_distinct_inputs(layers))}
    return SampledInputs(folder, {layer.weight.name or "": numbers[id(layer.x)] for layer in layers})


def sample_inputs(
    encoder: ir.Model,
    decoder: ir.Model,
    mel: MelBatch,
    *,
    dims: ModelDims,
    prompts: Sequence[Sequence[int]],
    folder: Path,
    threads: int = 1,
) -> SampledInputs:
    """Inputs of all products of the decoder with a constant, written to `folder`.

    The graphs are those of `export.py`, before any pass. `prompts` are the languages' openings, all of one length.

    Raises:
        CompilerError: ONNX Runtime cannot run the graphs.
    """
    windows = cross_of(graph_runner(encoder, folder / "encoder", threads), mel)
    rows = np.arange(N_SEQUENCES)
    cross = {name: array[rows % len(mel)] for name, array in windows.items()}
    openings = np.asarray(prompts, np.int64)[rows % len(prompts)]
    n_tokens = min(N_TOKENS, dims.n_text_ctx - openings.shape[1])
    runner = graph_runner(decoder, folder / "decoder", threads)
    tokens = _drawn(runner, openings, empty_past(decoder, len(rows)), cross, n_tokens)
    del runner
    sampled, values = unsampled_inputs(decoder, folder), _distinct_inputs(linear_layers(decoder.graph))
    with as_outputs(decoder.graph, values):
        runner = graph_runner(decoder, folder / "decoder", threads)
    everywhere = tokens.shape[1]  # the vocabulary's input is cut to the positions whose logits are asked for
    seen = [
        runner.run(decoder_inputs(tokens[row], empty_past(decoder, 1), _row(cross, row), n_logits=everywhere))
        for row in rows[:, None]
    ]
    for number, value in enumerate(values):
        parts = [outputs[value.name or ""] for outputs in seen]
        sampled.add(number, np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts]))
    return sampled


def _distinct_inputs(layers: Iterable[LinearLayer]) -> list[ir.Value]:
    return list({id(layer.x): layer.x for layer in layers}.values())


def _drawn(runner: GraphRunner, tokens: Tokens, past: Arrays, cross: Arrays, n_tokens: int) -> np.ndarray:
    """The openings and what follows, [n_seq, n]: every next token of text is drawn with its probability."""
    n_text = int(tokens[0, 0]) - 1  # <|startoftranscript|> follows <|endoftext|>, which follows the text
    random = np.random.default_rng(0)
    drawn = [tokens]
    for _ in range(n_tokens):
        outputs = runner.run(decoder_inputs(drawn[-1], past, cross))
        past = present_as_past(outputs)
        noise = random.gumbel(size=(len(tokens), n_text))
        drawn.append(np.argmax(outputs["logits"][:, -1, :n_text] + noise, axis=-1)[:, None])
    return np.concatenate(drawn, axis=1)


def _row(arrays: Arrays, row: np.ndarray) -> Arrays:
    return {name: array[row] for name, array in arrays.items()}
