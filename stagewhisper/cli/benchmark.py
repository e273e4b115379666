"""`stagewhisper benchmark`: which engine or program is faster on this machine, with the same decoding for all."""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.benchmark_options import add_options
from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.output_files import made_folder, write_text
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.progress import ProgressBar
from stagewhisper.cli.streams import print_text
from stagewhisper.errors import OptionError

if TYPE_CHECKING:
    from stagewhisper.benchmarking import Benchmark, Result

logger = logging.getLogger(__name__)

_NOTES = """\
Every point runs in a process of its own. Loading, compiling, the first run and warm runs are timed
apart. What the numbers mean: docs/benchmarking.md.

FOLDER gets points.jsonl (a line for each finished point, at once), results.json, results.csv,
results.md, results.html, and results.png where matplotlib is installed. The same command goes on where
a stopped one was.

Exit code: 0 done, whatever some points could not do; 2 an option, a model or the data was wrong, or no
point could be measured; 130 interrupted."""


def add_command(commands: Commands) -> None:
    """Adds `benchmark` to the program."""
    parser = commands.add_parser(
        "benchmark",
        help="our engines and other programs, side by side on this machine",
        usage="stagewhisper benchmark [OPTIONS]",
        description="Measures our engines and other Whisper programs on this machine, with the same decoding for all.",
        epilog=_NOTES,
        formatter_class=HelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run, revision=None)


def run(arguments: argparse.Namespace, _: Messages) -> int:
    """The exit code once all points are measured and the files are written."""
    from stagewhisper.benchmarking import Journal, run_benchmark
    from stagewhisper.cli.benchmark_report import report_lines
    from stagewhisper.cli.benchmark_setup import benchmark_of

    benchmark = benchmark_of(arguments, **hub_options(arguments))
    folder = made_folder(arguments.output)
    journal = Journal(folder / "points.jsonl", fresh=arguments.fresh)
    bar = ProgressBar("benchmark", duration=len(benchmark.grid.points()), unit="points")
    with bar.shown():
        results = run_benchmark(benchmark, journal, on_progress=bar.move_to, on_result=_tell)
    document = _document(benchmark, results, preset=arguments.preset)
    written = _write(document, results, folder)
    print_text("\n".join(report_lines(document, results, written)))
    if not any(result.is_done for result in results):
        raise OptionError("No point could be measured; the reasons are above. Choose other engines, types or devices.")
    return 0


def _tell(result: "Result") -> None:
    point = f"{result.point.label}, {result.point.audio}, batch {result.point.batch}"
    if result.is_done:
        logger.info("%s: %.3g s warm", point, result.median)
    else:
        logger.warning("%s: %s. %s", point, result.state, result.reason)


def _document(benchmark: "Benchmark", results: "Sequence[Result]", *, preset: str | None) -> dict[str, Any]:
    from datetime import UTC, datetime

    from stagewhisper.benchmarking.results import document
    from stagewhisper.benchmarking.verdicts import article_verdicts
    from stagewhisper.evaluation.machine import machine, versions

    audio = {name: {"recordings": len(w.recordings), "seconds": w.duration} for name, w in benchmark.workloads.items()}
    verdicts = article_verdicts(results) if preset == "article" else []
    return document(
        results,
        settings={"preset": preset, **asdict(benchmark.settings), "audio": audio, "random": sorted(benchmark.random)},
        machine=machine(threads=benchmark.settings.threads),
        versions=versions(),
        verdicts=[verdict.to_dict() for verdict in verdicts],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write(document: dict[str, Any], results: "Sequence[Result]", folder: Path) -> list[Path]:
    """The files that were written."""
    from stagewhisper.benchmarking.tables import csv_text, markdown
    from stagewhisper.cli.benchmark_page import benchmark_page
    from stagewhisper.cli.benchmark_png import can_draw, write_png

    texts = {
        "results.json": json.dumps(document, indent=1) + "\n",
        "results.csv": csv_text(results),
        "results.md": markdown(document, results),
        "results.html": benchmark_page(document, results),
    }
    for name, text in texts.items():
        write_text(str(folder / name), text)
    written = [folder / name for name in texts]
    if can_draw() and any(result.is_done for result in results):
        picture = folder / "results.png"
        write_png(picture, results)
        written.append(picture)
    return written
