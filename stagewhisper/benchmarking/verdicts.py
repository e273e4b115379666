"""Three claims about JAX and PyTorch, judged by what was measured here.

    1  JAX is slower than PyTorch on the first run, because it compiles
    2  warm, JAX is twice as fast as PyTorch on a processor, and half as fast on a GPU; the promise: 70 times as fast
    3  bfloat16 makes it faster, and so do batches

A cell is a piece of work that both sides of a comparison have done: audio, model, device, type, batch. A claim is
confirmed or refuted only where all cells agree, each with its whole 95 % interval; else it is not decided. First runs
come once for each process: their spread is that between the cells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import exp, log
from statistics import fmean
from typing import Any

from stagewhisper.benchmarking.points import Point
from stagewhisper.benchmarking.results import Result
from stagewhisper.benchmarking.statistics import Ratio, ratio

CONFIRMED, REFUTED, NOT_DECIDED = "confirmed", "refuted", "not decided"
BASELINES = {"pytorch": "our PyTorch", "transformers": "transformers' PyTorch"}
"""What JAX is compared with, by engine."""
PROMISED = 70.0
FEWEST_RUNS = 3
"""Warm runs that have a spread."""
_ABOUT = 1.5
"""A factor between claimed / 1.5 and claimed × 1.5 counts as the claimed one."""
_MOST = 0.5
"""Compiling is the cause where it is at least this share of what the first run takes longer than a warm one."""


@dataclass(frozen=True)
class Verdict:
    """A claim and what became of it."""

    claim: str
    verdict: str
    """"confirmed", "refuted" or "not decided"."""
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def article_verdicts(results: Sequence[Result]) -> list[Verdict]:
    """The verdicts on all claims, for every device on which JAX was asked to run."""
    done = {result.point: result for result in results if result.is_done}
    verdicts = []
    for device in dict.fromkeys(result.point.device for result in results if result.point.engine == "jax"):
        here = [result for result in done.values() if result.point.device == device]
        for engine, name in BASELINES.items():
            if any(result.point.engine == engine for result in results):
                pairs = _pairs(here, partial(replace, engine=engine), only="jax")
                verdicts += [_first_run(pairs, device, name), _warm(pairs, device, name), _promise(pairs, device, name)]
        verdicts += [_half_precision(here, device), _batches(here, device)]
    return verdicts


def _first_run(pairs: "_Pairs", device: str, name: str) -> Verdict:
    claim = f"On {device}, JAX is slower than {name} on the first run, because it compiles"
    told = [(jax, other) for jax, other in pairs if jax.first and other.first and jax.compile is not None]
    if not told:
        return _nothing(claim)
    slower = [_positive(jax.first) / _positive(other.first) for jax, other in told]
    own = [_positive(jax.first) / jax.median for jax, _ in told]
    shares = [_compile_share(jax) for jax, _ in told]
    seconds = [_positive(jax.compile) for jax, _ in told]
    if all(times > 1 for times in slower) and all(share >= _MOST for share in shares):
        word = CONFIRMED
    elif all(times <= 1 for times in slower) or all(share < _MOST for share in shares):
        word = REFUTED
    else:
        word = NOT_DECIDED
    reason = (
        f"JAX's first run took {_range(slower)} times that of {name}, and {_range(own)} times its own warm run; "
        f"compiling took {_range(seconds)} s, {_range([100 * share for share in shares])} % of the difference to "
        f"a warm run ({_cells(told)})."
    )
    return Verdict(claim, word, reason)


def _warm(pairs: "_Pairs", device: str, name: str) -> Verdict:
    claimed, words = (2.0, "2 times faster") if device == "cpu" else (0.5, "2 times slower")
    claim = f"On {device}, JAX is {words} than {name} once it is warm"
    speedups = _ratios((other, jax) for jax, other in pairs)
    if not speedups:
        return _nothing(claim, pairs)
    mean = exp(fmean(log(speedup.value) for speedup in speedups))
    is_faster = all(speedup.is_above_one for speedup in speedups)
    is_slower = all(speedup.is_below_one for speedup in speedups)
    is_as_claimed = is_faster if claimed > 1 else is_slower
    told = f"JAX's speed is {_spread(speedups)} times that of {name}, {mean:.2f} times on average ({_cells(speedups)})"
    if is_as_claimed and claimed / _ABOUT <= mean <= claimed * _ABOUT:
        return Verdict(claim, CONFIRMED, f"{told}.")
    if is_as_claimed:
        return Verdict(claim, REFUTED, f"{told}: the direction is as claimed, the factor is not.")
    if is_faster or is_slower:
        return Verdict(claim, REFUTED, f"{told}: it is the other way round.")
    return Verdict(claim, NOT_DECIDED, f"{told}: cells disagree, or their intervals hold 1.")


def _promise(pairs: "_Pairs", device: str, name: str) -> Verdict:
    claim = f"On {device}, JAX is {PROMISED:g} times faster than {name} once it is warm"
    speedups = _ratios((other, jax) for jax, other in pairs)
    if not speedups:
        return _nothing(claim, pairs)
    told = f"The most that was seen is {max(speedup.high for speedup in speedups):.2f} times ({_cells(speedups)})."
    if all(speedup.high < PROMISED for speedup in speedups):
        return Verdict(claim, REFUTED, told)
    if all(speedup.low >= PROMISED for speedup in speedups):
        return Verdict(
            claim, CONFIRMED, f"JAX's speed is {_spread(speedups)} times that of {name} ({_cells(speedups)})."
        )
    return Verdict(claim, NOT_DECIDED, told)


def _half_precision(results: Sequence[Result], device: str) -> Verdict:
    pairs = _pairs(results, partial(replace, dtype="float32"), only_dtype="bfloat16")
    return _gain(f"On {device}, bfloat16 is faster than float32", pairs)


def _batches(results: Sequence[Result], device: str) -> Verdict:
    pairs = _pairs(results, partial(replace, batch=1, mode="sequential"), only_mode="batched")
    return _gain(f"On {device}, batches are faster than one window at a time", pairs)


def _gain(claim: str, pairs: "_Pairs") -> Verdict:
    """Whether the first of each pair is faster than the second."""
    engines = list(dict.fromkeys(new.point.engine for new, _ in pairs))
    gains = {name: _ratios((old, new) for new, old in pairs if new.point.engine == name) for name in engines}
    all_gains = [gain for own in gains.values() for gain in own]
    if not all_gains:
        return _nothing(claim, pairs)
    told = "; ".join(f"{name} {_spread(own)} times as fast ({_cells(own)})" for name, own in gains.items() if own)
    if all(gain.is_above_one for gain in all_gains):
        return Verdict(claim, CONFIRMED, f"{told}.")
    if all(gain.is_below_one for gain in all_gains):
        return Verdict(claim, REFUTED, f"{told}: slower everywhere.")
    return Verdict(claim, NOT_DECIDED, f"{told}: cells disagree, or their intervals hold 1.")


_Pairs = Sequence[tuple[Result, Result]]


def _pairs(
    results: Sequence[Result],
    other: Callable[[Point], Point],
    *,
    only: str | None = None,
    only_dtype: str | None = None,
    only_mode: str | None = None,
) -> list[tuple[Result, Result]]:
    """Each result of the kind wanted, with that of the point which `other` makes of its own, where there is one."""
    known: Mapping[Point, Result] = {result.point: result for result in results}
    return [
        (result, known[other(point)])
        for point, result in known.items()
        if only in (None, point.engine)
        and only_dtype in (None, point.dtype)
        and only_mode in (None, point.mode)
        and other(point) in known
    ]


def _ratios(pairs: Iterator[tuple[Result, Result]]) -> list[Ratio]:
    """Time of the first over time of the second, of pairs whose runs are enough to have a spread."""
    return [
        ratio(above.warm, below.warm, paired=_in_turn(above, below))
        for above, below in pairs
        if min(len(above.warm), len(below.warm)) >= FEWEST_RUNS
    ]


def _in_turn(one: Result, other: Result) -> bool:
    return one.session == other.session and one.point.group == other.point.group


def _compile_share(jax: Result) -> float:
    """Compiling's share of what the first run took longer than a warm one; 0 where it took no longer."""
    longer = _positive(jax.first) - jax.median
    return min(_positive(jax.compile) / longer, 1.0) if longer > 0 else 0.0


def _positive(value: float | None) -> float:
    return value or 0.0


def _nothing(claim: str, pairs: "_Pairs" = ()) -> Verdict:
    if pairs:
        return Verdict(claim, NOT_DECIDED, f"Fewer than {FEWEST_RUNS} warm runs have no spread to judge by.")
    return Verdict(claim, NOT_DECIDED, "Nothing was measured on both sides.")


def _cells(members: Sequence[object]) -> str:
    return f"{len(members)} cell{'' if len(members) == 1 else 's'}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _spread(ratios: Sequence[Ratio]) -> str:
    """The medians of all cells, and between which bounds their intervals lie."""
    medians = _range([each.value for each in ratios])
    low, high = min(each.low for each in ratios), max(each.high for each in ratios)
    return f"{medians} [{low:.3g}, {high:.3g}]"
