"""Whether a recipe's search can be carried out, and which recipes its limits are counted from."""

from pathlib import Path

from stagewhisper.compiler.recipe import Recipe, load_recipe, recipe_names
from stagewhisper.compiler.recipe_rules import check_recipe
from stagewhisper.compiler.search_study import check_optuna
from stagewhisper.errors import OptionError

DEFAULT_REFERENCE = "exact"
"""What times are taken beside where no limit names a recipe."""


def check_search(recipe: Recipe) -> None:
    """Nothing, if the recipe's search can be carried out here.

    Raises:
        OptionError: it cannot; the message says why.
        StagewhisperError: optuna is missing.
    """
    if recipe.search is None:
        raise OptionError(
            f"{recipe.file} says nothing of a search. Add `search` with strategy, trials and space: docs/recipes.md."
        )
    if recipe.target != "cpu":
        raise OptionError(f"{recipe.file} is for target {recipe.target}; a search measures on the CPU. Take that.")
    check_recipe(recipe)
    for reference in references_of(recipe).values():
        check_recipe(reference)
        if reference.target != "cpu":
            raise OptionError(
                f"{recipe.file}: limits are counted from {reference.name}, which is for target {reference.target}; "
                "a search measures on the CPU. Name another recipe in than."
            )
    check_optuna()


def references_of(recipe: Recipe) -> dict[str, Recipe]:
    """The recipes that limits are counted from, by the names that `than` has; `exact` where there is none.

    A file is looked for beside the recipe.
    """
    goals = [each.goal for each in recipe.evaluators if each.goal is not None]
    names = dict.fromkeys(goal.than for goal in goals if goal.than is not None) or {DEFAULT_REFERENCE: None}
    folder = Path(recipe.file).parent
    known = recipe_names()
    return {name: load_recipe(folder / name if _is_file(name, known) else name) for name in names}


def _is_file(name: str, known: tuple[str, ...]) -> bool:
    return name not in known and (Path(name).suffix != "" or len(Path(name).parts) > 1)
