"""Whether a recipe can be carried out: its passes exist, take these parameters, and make sense together.

A pass that would find nothing to do because another one is missing or stands in the wrong place is an error here:
it would decline without a word, and the bundle would not be what the recipe says.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from stagewhisper.compiler.parameter_types import described, fits, parameters_of
from stagewhisper.compiler.passes import PASSES
from stagewhisper.compiler.recipe import GRAPHS, Recipe, RecipeStep
from stagewhisper.errors import OptionError

_WEIGHTS = ("quantize_dynamic", "quantize_static", "quantize_blockwise")
"""Passes that turn weights into integers."""
_QUANTIZING = (*_WEIGHTS, "quantize_attention", "quantize_cross_kv")
_CPU_ONLY = (
    *("quantize_dynamic", "quantize_static", "quantize_attention", "quantize_cross_kv"),
    "decoder_masked_attention",
)


@dataclass(frozen=True)
class _Order:
    """`first` has to stand before `then`."""

    first: str
    then: str
    reason: str
    required: bool
    """Whether `then` is of no use without `first`, too."""


_ORDERS = (
    _Order("make_kv_cache_static", "decoder_masked_attention", "its kernel works on buffers of fixed length", True),
    _Order("fuse_attention", "quantize_attention", "it takes attention that is one operator", True),
    _Order("broadcast_tile", "quantize_cross_kv", "beams have to share the keys and values of their window", True),
    _Order("fuse_cross_attention", "absorb_attention_scale", "it works on the operator that this one makes", False),
    *(
        _Order("convolution_to_matmul", name, "the products that it makes would stay float32", False)
        for name in _WEIGHTS
    ),
    *(_Order("pack_qkv", name, "it packs weights in floating point only", False) for name in _WEIGHTS),
    *(_Order(name, "convert_to_fp16", "it quantises float32 only", False) for name in _QUANTIZING),
)


def check_recipe(recipe: Recipe) -> None:
    """Nothing, if the recipe can be carried out.

    Raises:
        OptionError: it cannot; the message says what is wrong, and where.
    """
    for step in recipe.steps:
        _check_step(step)
    for graph in GRAPHS:
        steps = [step for step in recipe.steps if graph in step.graphs]
        _check_order(steps)
        _check_cross_attention(steps)
    _check_target(recipe)
    _check_precision(recipe)
    _check_both_graphs(recipe.steps)
    _check_space(recipe)


def without(recipe: Recipe, disabled: Collection[str]) -> Recipe:
    """The recipe without these passes, checked.

    Raises:
        OptionError: a pass is unknown or not in the recipe, or the others cannot do without it.
    """
    names = [step.step.name for step in recipe.steps]
    for name in disabled:
        if name not in PASSES.names():
            raise OptionError(f"No pass named {name!r} to switch off. Known: {', '.join(PASSES.names())}.")
        if name not in names:
            raise OptionError(
                f"The recipe {recipe.name!r} has no pass {name!r} to switch off. It has: "
                f"{', '.join(dict.fromkeys(names))}."
            )
    left = replace(recipe, steps=tuple(step for step in recipe.steps if step.step.name not in disabled), search=None)
    check_recipe(left)
    return left if disabled else recipe


def _check_step(step: RecipeStep) -> None:
    name = step.step.name
    try:
        PASSES.get(name)
    except OptionError as error:
        raise OptionError(f"{step.place}: {error}") from error
    for parameter, value in step.step.parameters.items():
        _check_parameter(step, parameter, value)
    if name == "group_query_attention" and "cache_scales" in step.step.parameters and step.step.tolerance is None:
        raise OptionError(f"{step.place}: {name} with cache_scales changes numbers. Say how far they may: tolerance.")
    if name == "quantize_blockwise" and "encoder" in step.graphs:
        _check_rounding(step, step.step.parameters.get("rounding"))


def _check_rounding(step: RecipeStep, rounding: object) -> None:
    if rounding == "calibrated":
        raise OptionError(
            f"{step.place}: rounding of {step.step.name} is 'calibrated', which is for the decoder: inputs are sampled "
            f"for its layers only. Write `graphs: decoder`, or choose 'nearest'."
        )


def _check_parameter(step: RecipeStep, parameter: str, value: object) -> None:
    name = step.step.name
    known = parameters_of(PASSES.get(name))
    if parameter not in known:
        raise OptionError(
            f"{step.place}: the pass {name!r} has no parameter {parameter!r}. "
            f"Known: {', '.join(sorted(known)) or 'none'}."
        )
    if not fits(value, known[parameter]):
        raise OptionError(f"{step.place}: {parameter} of {name} is {value!r}; expected {described(known[parameter])}.")


def _check_order(steps: Sequence[RecipeStep]) -> None:
    """Of the passes of one graph."""
    names = [step.step.name for step in steps]
    for index, step in enumerate(steps):
        for order in _ORDERS:
            if step.step.name == order.then and order.required and order.first not in names[:index]:
                raise OptionError(f"{step.place}: {order.then} needs {order.first} before it: {order.reason}.")
            if step.step.name == order.first and order.then in names[:index] and order.first not in names[:index]:
                raise OptionError(f"{step.place}: {order.first} has to stand before {order.then}: {order.reason}.")


def _check_cross_attention(steps: Sequence[RecipeStep]) -> None:
    """Keys and values of the audio have one operator: the first pass that makes one leaves the other nothing to do."""
    both = [step for step in steps if step.step.name in ("fuse_cross_attention", "quantize_cross_kv")]
    for first, then in pairwise(both):
        names = first.step.name, then.step.name
        is_in_vain = names[0] != names[1] and not then.optional
        if is_in_vain or names == ("fuse_cross_attention", "quantize_cross_kv"):
            raise OptionError(
                f"{then.place}: {names[0]} stands before {names[1]} and leaves it nothing to do: each has an operator "
                f"of its own for the keys and values of the audio. Keep one of them."
            )


def _check_target(recipe: Recipe) -> None:
    for step in recipe.steps:
        name = step.step.name
        if name == "convert_to_fp16" and recipe.target == "cpu":
            raise OptionError(
                f"{step.place}: {name} is for target gpu; ONNX Runtime's CPU computes float16 in float32, with casts."
            )
        if name in _CPU_ONLY and recipe.target == "gpu":
            raise OptionError(
                f"{step.place}: {name} makes operators that only ONNX Runtime's CPU has. Take target cpu."
            )


def _check_precision(recipe: Recipe) -> None:
    found = precision_of(recipe.steps)
    if found is not None and found != recipe.precision:
        raise OptionError(
            f"{recipe.file}: precision is {recipe.precision}, and the passes make {found}. Change one of them."
        )


def precision_of(steps: Sequence[RecipeStep]) -> str | None:
    """What these passes make of weights; None where one is not ours, so that nobody knows."""
    names = {step.step.name for step in steps}
    if any(step.step.parameters.get("bits") == 4 for step in steps if step.step.name == "quantize_blockwise"):
        return "int4"
    if names & set(_QUANTIZING):
        return "int8"
    if "convert_to_fp16" in names:
        return "fp16"
    ours = all(PASSES.get(name).__module__.startswith("stagewhisper.") for name in names)
    return "fp32" if ours else None


def _check_both_graphs(steps: Sequence[RecipeStep]) -> None:
    """What the encoder gives is what the decoder takes."""
    for name in ("fuse_cross_attention", "quantize_cross_kv", "convert_to_fp16"):
        found = {graph: tuple(_interface(name, graph, steps)) for graph in GRAPHS}
        if found["encoder"] != found["decoder"]:
            place = next(step.place for step in steps if step.step.name == name)
            raise OptionError(f"{place}: {name} has to be the same for encoder and decoder: leave out graphs.")


def _interface(name: str, graph: str, steps: Sequence[RecipeStep]) -> Iterator[object]:
    """What a pass's occurrences say about the keys and values that go from one graph to the other."""
    for step in steps:
        if step.step.name != name or graph not in step.graphs:
            continue
        if name == "quantize_cross_kv":
            yield step.step.parameters.get("kernel", True)
        elif name == "fuse_cross_attention":
            yield "frames before channels"
        elif not step.step.parameters.get("keep_io", True):
            yield "half"


def _check_space(recipe: Recipe) -> None:
    for choice in recipe.search.space if recipe.search is not None else ():
        step = recipe.steps[choice.step]
        if choice.parameter is not None:
            for value in choice.values:
                tried = {**step.step.parameters, choice.parameter: value}
                place = f"{recipe.file}: search.space"
                _check_step(replace(step, step=replace(step.step, parameters=tried), place=place))
