"""`stagewhisper compile`: a checkpoint to a bundle, by a recipe, and what each of its passes did."""

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.bundles import PRECISIONS
from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.streams import print_text
from stagewhisper.cli.transcribe_options import add_debug_option, add_hub_options
from stagewhisper.errors import BundleError, OptionError

if TYPE_CHECKING:
    from stagewhisper.bundle import Bundle
    from stagewhisper.checkpoint import Checkpoint
    from stagewhisper.compiler import CompiledReport, Recipe
    from stagewhisper.compiler.report import Report

AUTO = "auto"

DEFAULT_PRECISION = "int8"
"""Whoever compiles wants speed; `transcribe` is exact unless it is told otherwise (docs/decisions/0005)."""

_NOT_MEASURED = "not measured here yet, so these are the answers of the recipe int8: a dry run measures nothing"

_NOTES = """\
Recipes are YAML or JSON files; docs/recipes.md tells what stands in them. The shipped ones are exact
(fp32), int8, small (int4) and gpu-fp16. The precision auto is int8 in the forms that are fastest here:
they are measured once for each shape of model, and kept in the cache.

In the table, a difference is the largest one in any output, as a share of the output's largest number.
Graphs are compared on real audio: prompt and steps, one beam and five, one window and two.

Exit code: 0 done; 2 an option, the recipe or the model was wrong, or a pass broke the numbers."""


def add_command(commands: Commands) -> None:
    """Adds `compile` to the program."""
    parser = commands.add_parser(
        "compile",
        help="a model to a bundle, by a recipe of graph passes",
        usage="stagewhisper compile [OPTIONS] MODEL",
        description="Compiles a model by a recipe and prints what each of its passes did.",
        epilog=_NOTES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a name from `stagewhisper models list`, a hub's owner/name, or a path (default: the recipe's model)",
    )
    _add_recipe_options(parser.add_argument_group("recipe"))
    _add_output_options(parser.add_argument_group("output"))
    add_hub_options(parser.add_argument_group("where models are"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, _: Messages) -> int:
    """Compiles, and prints the table of the passes or all of it as JSON."""
    if arguments.time and arguments.check == "off":
        raise OptionError(
            "Graphs are measured where they are compared. Leave out --time, or choose --check end or each."
        )
    recipe = _recipe(arguments)
    if arguments.output is not None:
        _check_output(Path(arguments.output))
    checkpoint = _checkpoint(arguments, recipe)
    if arguments.precision == AUTO:
        recipe = _fastest(checkpoint, arguments)
    if arguments.dry_run:
        _print_plan(checkpoint, recipe, arguments)
        return 0
    report, was_there = _compiled(checkpoint, recipe, arguments)
    if arguments.json:
        print_text(json.dumps({"bundle": str(report.bundle.path), **json.loads(report.to_json())}, indent=1))
    else:
        print_text("\n".join([*_lines(report, was_there=was_there), _use(report, arguments)]))
    return 0


def _add_recipe_options(group: argparse._ActionsContainer) -> None:
    group.add_argument("--recipe", metavar="NAME|FILE", help="exact, gpu-fp16, int8, small, or a file (default: int8)")
    group.add_argument("--precision", choices=PRECISIONS, help="the shipped recipe for this precision; auto: measured")
    group.add_argument(
        "--disable-pass",
        action="append",
        default=[],
        metavar="PASS",
        help="leave out this pass of the recipe; may be given several times",
    )
    group.add_argument(
        "--check",
        choices=("each", "end", "off"),
        default="end",
        help="compare the numbers after each pass, at the end, or not (default: end)",
    )
    group.add_argument(
        "--time",
        action="store_true",
        help="measure what is compared: milliseconds before and after all passes, or each with --check each",
    )


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "-o",
        "--output",
        metavar="BUNDLE",
        help="the folder to make; an older bundle there is replaced (default: the cache, where `transcribe` finds it)",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="run the passes without weights, print what they do, and write nothing"
    )
    group.add_argument("--json", action="store_true", help="print recipe, passes, times and place as JSON")
    add_debug_option(group)


def _recipe(arguments: argparse.Namespace) -> "Recipe":
    """The recipe asked for, checked with what is switched off: errors must not cost fetching a model."""
    from stagewhisper.compiler import RECIPE_OF_PRECISION, load_recipe
    from stagewhisper.compiler.recipe_rules import check_recipe, without

    precision = arguments.precision
    if precision == AUTO:
        if arguments.recipe is not None:
            raise OptionError("--precision auto makes a recipe of its own: leave out --recipe.")
        precision = "int8"  # what is measured are forms of this one
    recipe = load_recipe(arguments.recipe or RECIPE_OF_PRECISION[precision or DEFAULT_PRECISION])
    if precision not in (None, recipe.precision):
        raise OptionError(
            f"--precision asks for {precision}, and the recipe {recipe.file} makes {recipe.precision}: "
            f"leave one of them out."
        )
    check_recipe(recipe)
    without(recipe, arguments.disable_pass)
    return recipe


def _fastest(checkpoint: "Checkpoint", arguments: argparse.Namespace) -> "Recipe":
    """What is fastest here, without the passes that are switched off."""
    from stagewhisper.compiler import default_cache_dir, fastest_recipe
    from stagewhisper.compiler.recipe_rules import without

    cache_dir = hub_options(arguments)["cache_dir"] or default_cache_dir()
    if arguments.dry_run:
        recipe = _fastest_so_far(checkpoint, cache_dir)
    else:
        recipe = fastest_recipe(checkpoint, cache_dir=cache_dir).recipe
    without(recipe, arguments.disable_pass)
    return recipe


def _fastest_so_far(checkpoint: "Checkpoint", cache_dir: Path) -> "Recipe":
    """What a dry run goes by: it measures nothing, and writes nothing down."""
    from stagewhisper.compiler.fastest import measured_earlier, shipped_answers

    found = measured_earlier(checkpoint, cache_dir=cache_dir)
    if found is not None:
        return found.recipe
    recipe = shipped_answers().recipe
    return replace(recipe, description=f"{_NOT_MEASURED}; {recipe.description}")


def _check_output(path: Path) -> None:
    """Nothing, if a bundle can be put there: what cannot must not cost fetching a model, nor what is there."""
    from stagewhisper.bundle import check_place, is_bundle

    check_place(path)
    try:
        is_free = not path.exists() or is_bundle(path) or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise OptionError(f"Cannot look into {path}: {error.strerror or error}. Choose another name for -o.") from error
    if not is_free:
        raise OptionError(
            f"{path} is there already and is no bundle: it is not overwritten. Choose another name for -o."
        )


def _checkpoint(arguments: argparse.Namespace, recipe: "Recipe") -> "Checkpoint":
    from stagewhisper.bundle import is_bundle
    from stagewhisper.checkpoint import load_checkpoint
    from stagewhisper.hub import find_model

    name = arguments.model or recipe.model
    if name is None:
        raise OptionError(f"No model was named, and the recipe {recipe.file} names none. Name one: compile base.")
    if is_bundle(Path(name)):
        raise BundleError(f"{name} is compiled already. Name the model or the checkpoint that it was made from.")
    options = hub_options(arguments)
    return load_checkpoint(find_model(name, **{**options, "offline": options["offline"] or arguments.dry_run}))


def _print_plan(checkpoint: "Checkpoint", recipe: "Recipe", arguments: argparse.Namespace) -> None:
    from stagewhisper.compiler.compile_graphs import compile_graphs

    reports = compile_graphs(checkpoint, recipe, folder=None, disabled=arguments.disable_pass)
    if arguments.json:
        plain = {name: report.to_dict() for name, report in reports.items()}
        print_text(json.dumps({"bundle": None, "recipe": recipe.to_dict(), "graphs": plain}, indent=1))
    else:
        plan = recipe.to_dict()
        print_text("\n".join([*_tables(reports), "", *_measured(plan), f"{_headline(plan)}; nothing was written"]))


def _compiled(
    checkpoint: "Checkpoint", recipe: "Recipe", arguments: argparse.Namespace
) -> "tuple[CompiledReport, bool]":
    """The report, and whether the bundle was in the cache."""
    from stagewhisper.compiler import compile_checkpoint, default_cache_dir, read_report, source_digest
    from stagewhisper.compiler.compile import found_or_compiled

    cache_dir = hub_options(arguments)["cache_dir"] or default_cache_dir()
    options: dict[str, Any] = {"recipe": recipe, "disabled": arguments.disable_pass, "check": arguments.check}
    options["timed"] = arguments.time
    if arguments.output is None:
        bundle, was_there = found_or_compiled(checkpoint, cache_dir=cache_dir, **options)
        return read_report(bundle), was_there
    source = source_digest(checkpoint, cache_dir=cache_dir)
    return compile_checkpoint(checkpoint, Path(arguments.output), source=source, **options), False


def _lines(report: "CompiledReport", *, was_there: bool) -> list[str]:
    sizes = ", ".join(f"{name} {_megabytes(report.bundle, name):.1f} MB" for name in report.graphs)
    found = "found in the cache, compiled in " if was_there else ""
    checked = {"off": "numbers were not compared", "end": "compared at the end", "each": "compared after each pass"}
    return [
        *_tables(report.graphs),
        "",
        *_measured(report.recipe),
        f"{_headline(report.recipe)}; {checked[report.check]}; {found}{report.seconds:.1f} s",
        f"{report.bundle.path}: {sizes}",
    ]


def _use(report: "CompiledReport", arguments: argparse.Namespace) -> str:
    """How to transcribe with what was compiled."""
    if arguments.output is not None or arguments.recipe is not None or arguments.disable_pass:
        return f"Use it with: stagewhisper transcribe FILE --model {shlex.quote(str(report.bundle.path))}"
    options = ["--model", arguments.model, "--precision", arguments.precision or DEFAULT_PRECISION]
    if arguments.model_dir is not None:
        options += ["--model-dir", arguments.model_dir]
    return f"Use it with: stagewhisper transcribe FILE {shlex.join(map(str, options))}"


def _tables(reports: "dict[str, Report] | Any") -> list[str]:
    from stagewhisper.compiler.report import render_table

    first, *others = (render_table(report) for report in reports.values())
    return [first, *(f"\n{table}" for table in others)]


def _measured(recipe: Any) -> list[str]:
    """What was measured to choose the passes, where they were chosen so."""
    return recipe.get("description", "").split("; ") if recipe["name"] == AUTO else []


def _headline(recipe: Any) -> str:
    return f"recipe {recipe['name']}: {recipe['precision']} for {recipe['target']}"


def _megabytes(bundle: "Bundle", name: str) -> float:
    return sum((bundle.path / f"{name}.{kind}").stat().st_size for kind in ("onnx", "weights")) / 1e6
