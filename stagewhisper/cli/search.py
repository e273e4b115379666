"""`stagewhisper search`: looks for a better recipe, and measures every one that it tries."""

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.output_files import made_folder, write_text
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.progress import ProgressBar
from stagewhisper.cli.streams import print_text
from stagewhisper.cli.transcribe_options import add_debug_option, add_hub_options, add_switch
from stagewhisper.cli.values import integer, optional_integer
from stagewhisper.errors import BundleError, CompilerError, OptionError

if TYPE_CHECKING:
    from stagewhisper.checkpoint import Checkpoint
    from stagewhisper.cli.search_text import TextMeasurer
    from stagewhisper.compiler import Recipe
    from stagewhisper.compiler.search import Found
    from stagewhisper.compiler.search_footprint import Record

logger = logging.getLogger(__name__)

_NOTES = """\
The recipe's `search` says what may vary, and its `evaluators` what is wanted; docs/search.md.
FOLDER gets footprint.jsonl (a line for each point, at once), front.json, front.html, best.yaml (a recipe
for `stagewhisper compile`) and best (its bundle). The same command goes on where a stopped one was: what
is in the footprint is not measured again.

Other programs make times worse, and ratios of times little: those are what counts here.

Exit code: 0 done; 2 an option, the recipe, the model or the data was wrong, or no point keeps to the
limits; 130 interrupted."""


def add_command(commands: Commands) -> None:
    """Adds `search` to the program."""
    parser = commands.add_parser(
        "search",
        help="a better recipe, under goals for errors, time and size",
        usage="stagewhisper search [OPTIONS] RECIPE --output FOLDER",
        description="Looks for a better recipe, compiling and measuring every one that it tries.",
        epilog=_NOTES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file that says what is searched")
    _add_search_options(parser.add_argument_group("search"))
    _add_measure_options(parser.add_argument_group("measuring"))
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where everything is kept")
    add_debug_option(group)
    add_hub_options(parser.add_argument_group("where models are"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, _: Messages) -> int:
    """The exit code once all points are measured and the files are written."""
    from stagewhisper.cli.search_report import search_lines
    from stagewhisper.compiler.search import SearchOptions, search
    from stagewhisper.compiler.search_check import check_search
    from stagewhisper.compiler.search_lock import alone_in

    recipe = _recipe(arguments)
    check_search(recipe)  # errors must not cost fetching a model
    folder = made_folder(arguments.output)
    with alone_in(folder):  # nor must another search there
        pass
    threads = _threads(arguments.threads)
    progress = _Progress(recipe)
    texts = _texts(arguments, recipe, folder, threads, progress)
    checkpoint = _checkpoint(arguments, recipe)
    options = SearchOptions(
        threads=threads,
        check=arguments.check,
        cache_dir=hub_options(arguments)["cache_dir"],
        circumstances=_circumstances(texts, threads),
    )
    with progress.shown():
        found = search(checkpoint, recipe, folder, measure_text=texts, options=options, on_point=progress.point)
    model = str(arguments.model or recipe.model)
    _write(found, recipe, folder, model=model)
    print_text("\n".join(search_lines(found, folder)))
    if found.best is None:
        raise CompilerError(_nothing_found(found, recipe))
    return 0


def _add_search_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--model",
        metavar="MODEL",
        help="a name from `stagewhisper models list`, a hub's owner/name, or a path (default: the recipe's model)",
    )
    group.add_argument("--trials", type=integer, metavar="N", help="points to measure (default: the recipe's)")
    group.add_argument(
        "--data",
        action="append",
        metavar="DATA_SET",
        help="recordings with texts, instead of the recipe's; may be given several times",
    )
    group.add_argument("--limit", type=integer, metavar="N", help="only the first N clips of each data set")


def _add_measure_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--threads",
        type=optional_integer,
        default=0,
        metavar="N",
        help="cores to use; 0 is all physical ones (default: 0)",
    )
    group.add_argument(
        "--check",
        choices=("each", "end", "off"),
        default="end",
        help="compare each point's numbers after each pass, at the end, or not (default: end)",
    )
    group.add_argument(
        "--normalizer",
        choices=["auto", "english", "basic", "none"],
        default="auto",
        help="what is done to texts before they are compared; auto goes by the language (default: auto)",
    )
    add_switch(
        group,
        "--force-language",
        default=False,
        help="tell the model each clip's language where the data set does (default: False, it is detected)",
    )


def _recipe(arguments: argparse.Namespace) -> "Recipe":
    """The recipe with what the command line says otherwise; data sets lie beside the recipe's file."""
    from stagewhisper.compiler import load_recipe

    for option in ("trials", "limit"):
        if getattr(arguments, option) is not None and getattr(arguments, option) < 1:
            raise OptionError(f"--{option} is {getattr(arguments, option)}, and has to be 1 or more.")
    recipe = load_recipe(arguments.recipe)
    folder = Path(recipe.file).parent
    evaluators = []
    for each in recipe.evaluators:
        data = tuple(arguments.data or (str(folder / name) for name in each.data)) if each.data else ()
        evaluators.append(replace(each, data=data, limit=(arguments.limit or each.limit) if data else None))
    if recipe.search is not None and arguments.trials is not None:
        recipe = replace(recipe, search=replace(recipe.search, trials=arguments.trials))
    return replace(recipe, evaluators=tuple(evaluators))


def _threads(threads: int | None) -> int | None:
    if threads is not None and threads < 0:
        raise OptionError(f"--threads is {threads}, and has to be 1 or more, or 0 for all physical cores.")
    return threads or None


def _texts(
    arguments: argparse.Namespace, recipe: "Recipe", folder: Path, threads: int | None, progress: "_Progress"
) -> "TextMeasurer | None":
    from stagewhisper.cli.search_text import TextMeasurer

    if not any(each.data for each in recipe.evaluators):
        return None
    return TextMeasurer(
        recipe.evaluators,
        folder,
        threads=threads,
        normalizer=arguments.normalizer,
        force_language=arguments.force_language,
        on_clip=progress.clip,
    )


def _checkpoint(arguments: argparse.Namespace, recipe: "Recipe") -> "Checkpoint":
    from stagewhisper.bundle import is_bundle
    from stagewhisper.checkpoint import load_checkpoint
    from stagewhisper.hub import find_model

    name = arguments.model or recipe.model
    if name is None:
        raise OptionError(f"No model was named, and the recipe {recipe.file} names none. Name one: --model base.")
    if is_bundle(Path(name)):
        raise BundleError(f"{name} is compiled already. Name the model or the checkpoint that it was made from.")
    return load_checkpoint(find_model(name, **hub_options(arguments)))


def _circumstances(texts: "TextMeasurer | None", threads: int | None) -> dict[str, Any]:
    from stagewhisper.evaluation.machine import machine, versions

    return {
        "data": None if texts is None else texts.digest(),
        "machine": dict(machine(threads=threads)),
        "onnxruntime": versions().get("onnxruntime"),
    }


def _write(found: "Found", recipe: "Recipe", folder: Path, *, model: str) -> None:
    from stagewhisper.cli.search_page import search_page
    from stagewhisper.compiler.search_document import recipe_yaml, search_document

    document = search_document(found, recipe, model=model)
    write_text(str(folder / "front.json"), json.dumps(document, indent=1) + "\n")
    write_text(str(folder / "front.html"), search_page(document))
    best = folder / "best.yaml"
    if found.best is None:
        best.unlink(missing_ok=True)  # an earlier search's
    else:
        remark = f"Found by `stagewhisper search` in {recipe.file} for {model}."
        write_text(str(best), recipe_yaml(found.recipe_of(found.best), found.best.metrics, remark=remark))


def _nothing_found(found: "Found", recipe: "Recipe") -> str:
    done = [record for record in found.points if record.is_done]
    index = found.goals.nearest([record.metrics for record in done])
    if index is None:
        reason = found.points[0].reason if found.points else None
        return f"No point of {recipe.file} could be measured. The first: {reason} Change the recipe's space."
    metrics = done[index].metrics
    broken = [
        f"{axis.key} is {metrics[axis.key]:.4g}, and the limit {axis.limit:.4g}"
        for axis in found.goals.axes
        if axis.limit is not None and axis.violation(metrics[axis.key]) > 0
    ]
    return (
        f"No point of {recipe.file} keeps to all limits. Of the nearest, {'; '.join(broken)}. "
        "Loosen the limit, or widen the space."
    )


class _Progress:
    """The bar over the points; it moves within a point as its clips are transcribed."""

    def __init__(self, recipe: "Recipe") -> None:
        from stagewhisper.compiler.search_space import Space

        assert recipe.search is not None, "check_search has looked"  # noqa: S101
        by_pass = recipe.search.strategy == "pass-by-pass"
        n_points = min(recipe.search.trials, Space(recipe).n_points(pass_by_pass=by_pass))
        self._bar = ProgressBar(recipe.name, duration=n_points, unit="points")
        self._n_done = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is open, the bar is on the screen."""
        with self._bar.shown():
            yield

    def clip(self, n_done: int, n_clips: int) -> None:
        """So many clips of the point that is measured now are done."""
        self._bar.move_to(self._n_done + 0.99 * n_done / n_clips)

    def point(self, record: "Record", n_done: int, n_all: int) -> None:
        """So many points are done."""
        from stagewhisper.cli.search_report import told

        self._n_done = n_done
        self._bar.move_to(n_done)
        logger.info("Point %d of %d: %s", n_done, n_all, told(record))
