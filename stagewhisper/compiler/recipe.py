"""Which passes make a bundle of a checkpoint, in which order, and what the bundle must be worth: a file to read.

    int8.yaml ─► recipe_text: plain data ─► Recipe ─► recipe_rules: can it be? ─► compile_graphs

Reading a recipe imports no pass, so that a compiled model is found in the cache at once.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from stagewhisper.compiler.foreign_passes import identity_of
from stagewhisper.compiler.pipeline import FP32
from stagewhisper.compiler.recipe_fields import Fields, Place
from stagewhisper.compiler.recipe_files import beside_recipe, with_contents
from stagewhisper.compiler.recipe_search import Choice, Evaluator, Search, read_evaluators, read_search
from stagewhisper.compiler.recipe_text import SUFFIXES, read_recipe_text
from stagewhisper.compiler.steps import PassStep
from stagewhisper.errors import OptionError

GRAPHS = ("encoder", "decoder")
TARGETS = ("cpu", "gpu")
RECIPE_OF_PRECISION = {"fp32": "exact", "int8": "int8", "int4": "small", "fp16": "gpu-fp16"}
"""The shipped recipe for each precision; every other recipe says which of these its bundle has."""

PIPELINE = "pipeline"
"""What `include` calls the list in `pipeline.py`."""

_KEYS = ("name", "description", "model", "target", "precision", "tolerance", "passes", "evaluators", "search")
_STEP_KEYS = ("pass", "graphs", "parameters", "tolerance", "optional")


@dataclass(frozen=True)
class RecipeStep:
    """One pass of a recipe."""

    step: PassStep
    graphs: tuple[str, ...] = GRAPHS
    place: str = field(default="", compare=False)
    """Where it stands, for messages."""
    optional: bool = field(default=True, compare=False)
    """Whether it may find nothing to do; one that a recipe names itself may not, unless it says so."""


@dataclass(frozen=True)
class Recipe:
    """A recipe file with all that it includes."""

    name: str
    """The file's, without its ending, unless the recipe says another."""
    file: str = field(compare=False)
    """For messages."""
    target: str
    """What its bundles run on: "cpu" or "gpu"."""
    precision: str
    steps: tuple[RecipeStep, ...]
    description: str = ""
    tolerance: float | None = None
    """How far all passes together may change a graph's numbers; None is as far as the one that may change them most."""
    model: str | None = None
    """What is compiled when nothing else is named."""
    evaluators: tuple[Evaluator, ...] = ()
    search: Search | None = None

    def steps_for(self, graph: str) -> tuple[PassStep, ...]:
        """The passes that the encoder's or the decoder's graph goes through."""
        return tuple(step.step for step in self.steps if graph in step.graphs)

    def digest_without(self, disabled: Collection[str] = (), *, contents: bool = True) -> str:
        """SHA-256 of what decides about a bundle: target, precision, and the passes that are not switched off.

        With `contents`, what is in files that parameters name counts, and the text of other packages' passes.

        Raises:
            OptionError: such a file cannot be read any more.
        """
        data = _decisive_data if contents else _step_data
        steps = [step for step in self.steps if step.step.name not in disabled]
        passes = [{key: value for key, value in data(step).items() if key != "optional"} for step in steps]
        decisive = {"target": self.target, "precision": self.precision, **self._stated_tolerance(), "passes": passes}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Name, target, precision and passes as a recipe file that includes no others."""
        return {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            "target": self.target,
            "precision": self.precision,
            **self._stated_tolerance(),
            "passes": [_step_data(step) for step in self.steps],
        }

    def _stated_tolerance(self) -> dict[str, float]:
        return {} if self.tolerance is None else {"tolerance": self.tolerance}


def recipe_names() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    folder = files("stagewhisper") / "compiler" / "recipes"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def load_recipe(name: str | Path) -> Recipe:
    """The shipped recipe called `name`, or the one in the file `name`.

    Passes and their parameters are checked by `recipe_rules.check_recipe`, which has to import them.

    Raises:
        OptionError: there is no such recipe, or something in it is wrong; the message says where.
    """
    return _load(name, folder=Path(), including=())


def _load(name: str | Path, *, folder: Path, including: tuple[Path, ...]) -> Recipe:
    if not _is_file_name(name):
        if name not in recipe_names():
            raise OptionError(
                f"No recipe named {str(name)!r}. Known: {', '.join(recipe_names())}; or name a file, "
                f"which ends in {' or '.join(SUFFIXES)}."
            )
        with as_file(files("stagewhisper") / "compiler" / "recipes" / f"{name}.yaml") as shipped:
            return _read(shipped, file=shipped.name, including=including)
    path = folder / name
    return _read(path, file=str(path), including=including)


def _is_file_name(name: str | Path) -> bool:
    return isinstance(name, Path) or Path(name).suffix in SUFFIXES or len(Path(name).parts) > 1


def _read(path: Path, *, file: str, including: tuple[Path, ...]) -> Recipe:
    whole = path.absolute()
    if whole in including:
        circle = " includes ".join(each.name for each in (*including[including.index(whole) :], whole))
        raise OptionError(f"The recipe {file} includes itself: {circle}. Break the circle.")
    fields = Fields(read_recipe_text(path), Place(file), known=_KEYS)
    steps = _steps(fields, folder=path.parent, including=(*including, whole))
    if not steps:
        raise fields.place.error("passes is empty. Name passes, or include a recipe that has some.")
    evaluators = read_evaluators(fields.items("evaluators"), fields.place.at("evaluators"))
    names = [step.step.name for step in steps]
    return Recipe(
        name=fields.text("name", default=path.stem),
        file=file,
        description=fields.text("description", default=""),
        model=fields.text("model") if "model" in fields else None,
        target=fields.text("target", choices=TARGETS, default="cpu"),
        precision=fields.text("precision", choices=tuple(RECIPE_OF_PRECISION)),
        tolerance=fields.number("tolerance", above=0) if "tolerance" in fields else None,
        steps=steps,
        evaluators=evaluators,
        search=_search(fields, names, evaluators, folder=path.parent) if "search" in fields else None,
    )


def _search(fields: Fields, names: Sequence[str], evaluators: Sequence[Evaluator], *, folder: Path) -> Search:
    place = fields.place.at("search")
    search = read_search(fields.required("search"), place, passes=names, evaluators=evaluators)

    def resolved(choice: Choice) -> Choice:
        name = choice.parameter or ""
        values = beside_recipe(name, choice.values, folder=folder, place=place.at("space").at(name))
        return replace(choice, values=tuple(values))

    return replace(search, space=tuple(map(resolved, search.space)))


def _steps(fields: Fields, *, folder: Path, including: tuple[Path, ...]) -> tuple[RecipeStep, ...]:
    fields.required("passes")
    steps: list[RecipeStep] = []
    for index, entry in enumerate(fields.items("passes")):
        place = fields.place.at("passes").at(index)
        if isinstance(entry, str):
            steps.append(RecipeStep(PassStep(entry), place=str(place), optional=False))
        elif isinstance(entry, dict) and "include" in entry:
            steps += _included(Fields(entry, place, known=("include",)), folder, including)
        else:
            steps.append(_step(Fields(entry, place, known=_STEP_KEYS), folder))
    return tuple(steps)


def _included(fields: Fields, folder: Path, including: tuple[Path, ...]) -> Sequence[RecipeStep]:
    name = fields.text("include")
    if name == PIPELINE:
        return [RecipeStep(step, place="pipeline.py") for step in FP32]
    try:
        return [replace(step, optional=True) for step in _load(name, folder=folder, including=including).steps]
    except OptionError as error:
        raise fields.place.error(f"include: {error}") from error


def _step(fields: Fields, folder: Path) -> RecipeStep:
    place = fields.place.at("parameters")
    graphs = fields.text("graphs", choices=(*GRAPHS, "both"), default="both")
    return RecipeStep(
        PassStep(
            fields.text("pass"),
            {
                name: beside_recipe(name, value, folder=folder, place=place.at(name))
                for name, value in fields.mapping("parameters").items()
            },
            tolerance=fields.number("tolerance", above=0) if "tolerance" in fields else None,
        ),
        graphs=GRAPHS if graphs == "both" else (graphs,),
        place=str(fields.place),
        optional=fields.flag("optional", default=False),
    )


def _step_data(step: RecipeStep) -> Mapping[str, Any]:
    """The step as it could stand in a recipe."""
    data: dict[str, Any] = {"pass": step.step.name}
    if step.graphs != GRAPHS:
        (data["graphs"],) = step.graphs
    if step.step.parameters:
        data["parameters"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in step.step.parameters.items()
        }
    if step.step.tolerance is not None:
        data["tolerance"] = step.step.tolerance
    if step.optional:
        data["optional"] = True
    return data


def _decisive_data(step: RecipeStep) -> Mapping[str, Any]:
    """The step, with what its files and another package's pass are at present."""
    data = dict(_step_data(step))
    if "parameters" in data:
        data["parameters"] = with_contents(data["parameters"])
    identity = identity_of(step.step.name)
    return data if identity is None else {**data, "identity": identity}
