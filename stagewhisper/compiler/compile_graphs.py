"""From a checkpoint to the two graphs of a bundle: write them plainly, run the recipe's passes, save.

    checkpoint ─► export ─► encoder, decoder ─► passes of the recipe, compared with what was before ─► files

Weights are read when they are saved, one after the other, and not before: passes only note what is to become of them.
"""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.cases import decoder_cases, encoder_cases, recorded_windows
from stagewhisper.compiler.equivalence import Case, Equivalence, Options
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.layer_patterns import patterns_of, unmatched
from stagewhisper.compiler.pass_manager import run_passes
from stagewhisper.compiler.recipe import GRAPHS, Recipe
from stagewhisper.compiler.recipe_done import check_done
from stagewhisper.compiler.recipe_rules import without
from stagewhisper.compiler.report import Report
from stagewhisper.compiler.sampled_inputs import (
    SampledInputs,
    keep_sampled_inputs,
    sample_inputs,
    unsampled_inputs,
    wanted_by,
)
from stagewhisper.tokenizer import Tokenizer, load_tokenizer

_EXPORTS = {"encoder": export_encoder, "decoder": export_decoder}
_ALL_CORES = 0

_MOST_LANGUAGES = 8
"""Openings of sequences that are sampled; the vocabulary's first languages are those that most was trained on."""


@dataclass(frozen=True)
class Comparison:
    """How graphs are compared with what they were before the passes."""

    tokenizer: Tokenizer
    folder: Path
    """On a disk; it takes up to three times the weights' bytes, and may be removed afterwards."""
    each: bool = False
    """After each pass, not only at the end."""
    timed: bool = False
    """Also measure what is compared."""


def compile_graphs(
    checkpoint: Checkpoint,
    recipe: Recipe,
    *,
    folder: Path | None,
    disabled: Collection[str] = (),
    comparison: Comparison | None = None,
) -> dict[str, Report]:
    """What the recipe's passes did to encoder and decoder, which are written to `folder`, weights beside them.

    Without a folder nothing is written and no large weight is read.

    Raises:
        OptionError: the recipe cannot be carried out, or not without the passes that are switched off.
        CompilerError: a pass failed, or broke its graph or its numbers.
        OSError: the folder cannot be written.
    """
    without(recipe, disabled)
    models = {name: export(checkpoint) for name, export in _EXPORTS.items()}
    cases = _cases(models, checkpoint, comparison) if comparison is not None else {}
    patterns = {pattern for step in recipe.steps for pattern in patterns_of(step.step)}
    nameless = {name: unmatched(model.graph, patterns) for name, model in models.items()}
    reports = {}
    with ExitStack() as until_saved:
        if wanted_by(step for step in recipe.steps_for("decoder") if step.name not in disabled):
            keep_sampled_inputs(models["decoder"].graph, _sampled(models, checkpoint, folder, until_saved))
        for name in GRAPHS:
            model = models.pop(name)
            equivalence = _equivalence(cases.pop(name), comparison, name) if comparison is not None else None
            reports[name] = run_passes(
                model,
                recipe.steps_for(name),
                disabled=disabled,
                equivalence=equivalence,
                tolerance=recipe.tolerance,
            )
            if folder is not None:
                with nullcontext() if equivalence is None else equivalence.weights_from_disk(model):
                    ir.save(model, folder / f"{name}.onnx", external_data=f"{name}.weights")
    check_done(recipe, reports, disabled=disabled, unmatched=nameless)
    return reports


def _sampled(
    models: Mapping[str, ir.Model], checkpoint: Checkpoint, folder: Path | None, until_saved: ExitStack
) -> SampledInputs:
    """Inputs of the decoder's products, in a folder within the bundle's that goes when `until_saved` ends."""
    if folder is None:
        return unsampled_inputs(models["decoder"], Path())
    scratch = tempfile.TemporaryDirectory(prefix="sampled-", dir=folder)
    tokenizer = load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)
    languages = list(tokenizer.languages)[:_MOST_LANGUAGES] if tokenizer.is_multilingual else [None]
    return sample_inputs(
        models["encoder"],
        models["decoder"],
        recorded_windows(checkpoint.dims),
        dims=checkpoint.dims,
        prompts=[tokenizer.sot_sequence(language, "transcribe", timestamps=False) for language in languages],
        folder=Path(until_saved.enter_context(scratch)),
        threads=_ALL_CORES,
    )


def _cases(
    models: Mapping[str, ir.Model], checkpoint: Checkpoint, comparison: Comparison
) -> dict[str, tuple[Case, ...]]:
    mel = recorded_windows(checkpoint.dims)
    prompt = comparison.tokenizer.sot_sequence(_language(comparison.tokenizer), "transcribe", timestamps=False)
    folder = comparison.folder / "cases"
    decoder = decoder_cases(models["encoder"], models["decoder"], mel, prompt=prompt, folder=folder, threads=_ALL_CORES)
    return {"encoder": encoder_cases(mel), "decoder": decoder}


def _language(tokenizer: Tokenizer) -> str | None:
    return "en" if tokenizer.is_multilingual else None


def _equivalence(cases: Sequence[Case], comparison: Comparison, name: str) -> Equivalence:
    folder = comparison.folder / name
    folder.mkdir()
    options = Options(each=comparison.each, timed=comparison.timed, threads=_ALL_CORES)
    return Equivalence(cases, folder, options=options)
