"""A decoder of random weights after some passes of the recipe `exact`, opened in ONNX Runtime, with inputs for a step.

chain   plain export ─► pass 1 ─► variant ─► pass 2 ─► variant ─► …
alone   plain export ─► pass n ─► variant
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from logits import SHAPES, random_whisper

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.contract import Arrays, contract_of
from stagewhisper.compiler.equivalence import GraphRunner
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import aliases_of
from stagewhisper.compiler.pass_manager import run_passes
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.scratch import Scratch
from stagewhisper.compiler.sessions import bound_call, open_session, value_of
from stagewhisper.compiler.steps import PassStep
from stagewhisper.mel import log_mel

Step = Mapping[str, np.ndarray]
"""Inputs of one step, in the terms of the plain export."""


@dataclass(frozen=True)
class Variant:
    """One graph, ready to be timed."""

    name: str
    rewrites: int
    """Of the last pass."""
    op_types: Mapping[str, int]
    reads_cache: Mapping[str, int]
    """Types of the nodes that the inputs with keys and values go into."""
    session: ort.InferenceSession
    aliases: Mapping[str, str]
    passes: Sequence[PassStep]
    graph: ir.Graph

    def call(self, step: Step) -> ort.IOBinding:
        """One call, which may be repeated: it writes the same position again."""
        given: Arrays = step
        for one in self.passes:
            given = contract_of(PASSES.get(one.name)).adapt_inputs(given, self.graph)
        values = {each.name or "": value_of(given[each.name or ""]) for each in self.graph.inputs}
        return bound_call(self.session, values, self.aliases)

    def logits(self, step: Step) -> np.ndarray:
        """What the graph makes of a step."""
        binding = self.call(step)
        self.session.run_with_iobinding(binding)
        names = [output.name for output in self.session.get_outputs()]
        found: np.ndarray = binding.get_outputs()[names.index("logits")].numpy()
        return found


def random_checkpoint(shape: str, folder: Path) -> Checkpoint:
    """A checkpoint of true shape with random weights."""
    path = folder / f"{shape}.pt"
    if not path.exists():
        content = {"dims": vars(SHAPES[shape]), "model_state_dict": random_whisper(SHAPES[shape], seed=0).state_dict()}
        torch.save(content, path)
    return load_checkpoint(path)


def open_variant(
    name: str, checkpoint: Checkpoint, passes: Sequence[PassStep], *, folder: Path, threads: int
) -> Variant:
    """The plain export after these passes."""
    model = export_decoder(checkpoint)
    report = run_passes(model, passes)
    folder.mkdir()
    return Variant(
        name=name,
        rewrites=report.passes[-1].rewrites if passes else 0,
        op_types=report.op_types_after,
        reads_cache=_readers(model.graph),
        session=open_session(Scratch(folder).save(model), threads=threads, is_alone=False),
        aliases=aliases_of(model.graph),
        passes=[step for step, record in zip(passes, report.passes, strict=True) if record.rewrites],
        graph=model.graph,
    )


def long_step(checkpoint: Checkpoint, *, n_beams: int, n_past: int, folder: Path, threads: int) -> Step:
    """A step after `n_past` tokens: audio is noise, tokens are random, and all the rest follows from them."""
    generator = np.random.default_rng(0)
    dims = checkpoint.dims
    samples = generator.normal(0, 0.1, 480_000).astype(np.float32)
    encoded = _run(export_encoder(checkpoint), {"mel": log_mel(samples, n_mels=dims.n_mels)[None]}, folder, threads)
    cross = {name: array for name, array in encoded.items() if name.startswith("cross_")}
    tokens = generator.integers(0, dims.n_vocab, (n_beams, n_past + 1))
    shape = (n_beams, dims.n_text_head, 0, dims.n_text_state // dims.n_text_head)
    empty = {f"past_self_{kind}_{i}": np.zeros(shape, np.float32) for i in range(dims.n_text_layer) for kind in "kv"}
    last = np.asarray([-1])
    prompt = {"tokens": tokens[:, :-1], "logit_positions": last, **empty, **cross}
    decoded = _run(export_decoder(checkpoint), prompt, folder, threads)
    past = {name.replace("present_", "past_"): array for name, array in decoded.items() if name.startswith("present_")}
    return {"tokens": tokens[:, -1:], "logit_positions": last, **past, **cross}


def shortened(step: Step, n_past: int) -> Step:
    """The same step with fewer tokens before it."""
    return {name: array[:, :, :n_past] if name.startswith("past_") else array for name, array in step.items()}


def _run(model: ir.Model, inputs: Arrays, folder: Path, threads: int) -> Mapping[str, np.ndarray]:
    scratch = folder / f"{model.graph.name}-inputs"
    scratch.mkdir()
    return GraphRunner(Scratch(scratch).save(model), threads=threads).run(inputs)


def _readers(graph: ir.Graph) -> Mapping[str, int]:
    caches = [value for value in graph.inputs if (value.name or "").startswith(("past_", "cross_"))]
    return dict(Counter(use.node.op_type for value in caches for use in value.uses()))
