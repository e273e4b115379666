"""What is measured of a bundle in a search: the values that the recipe's evaluators ask for, by key.

bundle ─► search_latency   encoder_ms, prompt_ms, step_ms, window_ms, beside the reference's bundle
       ─► search_latency   memory_mb
       ─► its files        bundle_mb
       ─► measure_text     wer, cer, qoi of each group of data sets
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from stagewhisper.bundle import FILES, Bundle
from stagewhisper.compiler.recipe_search import NEED_DATA, Evaluator
from stagewhisper.compiler.search_footprint import Record
from stagewhisper.compiler.search_goals import LATENCIES, data_groups, metric_keys, text_key
from stagewhisper.compiler.search_latency import Times, latencies, peak_memory, times_beside
from stagewhisper.errors import OptionError

MeasureText: TypeAlias = Callable[[Bundle, Bundle, tuple[str, ...], int | None], Mapping[str, float]]
"""From a bundle, the reference's, data sets and a limit of clips to `wer`, `cer` and `qoi` in per cent.

A CompilerError is the point's failure; any other error stops the search.
"""


class Measurer:
    """Measures bundles beside one reference, which is measured first."""

    def __init__(
        self,
        evaluators: Sequence[Evaluator],
        reference: Bundle,
        *,
        measure_text: MeasureText | None,
        threads: int | None,
    ) -> None:
        """`measure_text` may be None where no evaluator asks for `wer`, `cer` or `qoi`.

        Raises:
            OptionError: one does.
        """
        self._asked = {each.metric for each in evaluators}
        self._keys = set(metric_keys(evaluators))
        self._groups = data_groups(evaluators)
        self._reference, self._threads = reference, threads
        self._baseline: Times | None = None
        if measure_text is None:
            if self._groups:
                raise OptionError(f"The evaluators ask for {', '.join(NEED_DATA)}; give `measure_text`.")
            measure_text = _no_text
        self._measure_text = measure_text

    def is_whole(self, record: Record) -> bool:
        """Whether the record has all that is asked for, or says that there is nothing to be had."""
        return not record.is_done or self._keys <= set(record.metrics)

    def count_from(self, record: Record) -> None:
        """Takes the times in the reference's record for those that all others are counted from."""
        self._baseline = record.details.get("times")

    def measured(self, bundle: Bundle) -> tuple[dict[str, float], dict[str, Any]]:
        """The values by key, and the times that they were computed from.

        Raises:
            CompilerError: the bundle cannot be run.
            StagewhisperError: the data cannot be read, or something else that concerns all bundles.
        """
        metrics: dict[str, float] = {"bundle_mb": sum((bundle.path / name).stat().st_size for name in FILES) / 1e6}
        details: dict[str, Any] = {}
        if self._asked & set(LATENCIES):
            times = times_beside(self._reference, bundle, threads=self._threads)
            details["times"] = times if self._baseline is not None else _beside_itself(times)
            metrics |= latencies(details["times"], self._baseline or details["times"])
        if "memory_mb" in self._asked:
            metrics["memory_mb"] = peak_memory(bundle, threads=self._threads) / 1e6
        for index, (data, limit) in enumerate(self._groups):
            values = self._measure_text(bundle, self._reference, data, limit)
            metrics |= {text_key(name, index): value for name, value in values.items()}
        return metrics, details


def _beside_itself(times: Times) -> dict[str, dict[str, float]]:
    """The reference's times beside its own: its ratios are 1, and what was found instead says how exact they are."""
    return {phase: {**each, "ratio": 1.0, "noise": each["ratio"]} for phase, each in times.items()}


def _no_text(bundle: Bundle, reference: Bundle, data: tuple[str, ...], limit: int | None) -> Mapping[str, float]:  # noqa: ARG001
    return {}
