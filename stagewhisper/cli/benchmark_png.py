"""A benchmark's warm runs as a picture, for slides and reports; only where matplotlib is installed."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stagewhisper.benchmarking.tables import pieces

if TYPE_CHECKING:
    from stagewhisper.benchmarking import Result

_WIDTH, _ROW, _HEAD = 9.0, 0.3, 0.9
"""Inches."""


def can_draw() -> bool:
    """Whether matplotlib is installed: `pip install '.[benchmark]'` brings it."""
    return find_spec("matplotlib") is not None


def write_png(path: Path, results: "Sequence[Result]") -> None:
    """Write one chart for each piece of work, one below the other: medians, with lines to the 90th percentile."""
    figure_class = import_module("matplotlib.figure").Figure  # without pyplot: no window system is asked for
    charts = list(pieces(results))
    heights = [_HEAD + _ROW * len(members) for _, members in charts]
    figure = figure_class(figsize=(_WIDTH, sum(heights)), layout="constrained")
    axes = figure.subplots(len(charts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis, (title, members) in zip(axes[:, 0], charts, strict=True):
        medians = [result.median for result in members]
        above = [result.p90 - result.median for result in members]
        axis.barh([result.point.label for result in members], medians, xerr=[[0.0] * len(above), above])
        axis.invert_yaxis()
        axis.set_xlabel("seconds, warm")
        axis.set_title(title, fontsize=10)
    figure.savefig(path, dpi=120)
