"""Whether each pass that a recipe names has found something to do: if not, the bundle is not what the recipe says.

Passes that come with an `include` may find nothing, and so may those that are `optional`. Where passes are switched
off, those that built on them have less to do; but what quantises weights must quantise some.
"""

from collections.abc import Collection, Mapping

from stagewhisper.compiler.layer_patterns import PASSES_ON_LAYERS, patterns_of
from stagewhisper.compiler.recipe import Recipe, RecipeStep
from stagewhisper.compiler.report import PassRecord, Report
from stagewhisper.errors import OptionError


def check_done(
    recipe: Recipe,
    reports: Mapping[str, Report],
    *,
    disabled: Collection[str] = (),
    unmatched: Mapping[str, Collection[str]],
) -> None:
    """Nothing, if every pass did something in one of its graphs and all its patterns name layers.

    `unmatched` holds, for each graph, the patterns that name no layer of it before the passes.

    Raises:
        OptionError: a pass did not.
    """
    records = {graph: iter(report.passes) for graph, report in reports.items()}
    for step in recipe.steps:
        if step.step.name not in disabled:
            own = {graph: next(records[graph]) for graph in step.graphs}
            if not step.optional:
                _check_patterns(step, own, unmatched)
                if not disabled or step.step.name in PASSES_ON_LAYERS:
                    _check_rewrites(step, own)


def _check_patterns(
    step: RecipeStep, records: Mapping[str, PassRecord], unmatched: Mapping[str, Collection[str]]
) -> None:
    name, graphs = step.step.name, " and ".join(records)
    for pattern in patterns_of(step.step):
        if all(pattern in record.unmatched and pattern in unmatched[graph] for graph, record in records.items()):
            raise OptionError(
                f"{step.place}: {name} names layers {pattern!r}, and no float32 layer of {graphs} is called so. "
                "Names are those of the weights, such as 'decoder.blocks.0.mlp.0.weight', or 'vocabulary'."
            )


def _check_rewrites(step: RecipeStep, records: Mapping[str, PassRecord]) -> None:
    name, graphs = step.step.name, " and ".join(records)
    if not any(record.rewrites for record in records.values()):
        raise OptionError(
            f"{step.place}: {name} finds nothing to do in {graphs}. Leave it out, or let it stand with "
            "`optional: true` if the recipe is right without it."
        )
