"""A benchmark as lines for people: a table for each piece of work, what was not measured, verdicts, files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.evaluate_report import printable
from stagewhisper.cli.text_table import table_lines

if TYPE_CHECKING:
    from stagewhisper.benchmarking import Result


def report_lines(document: Mapping[str, Any], results: "Sequence[Result]", written: Sequence[Path]) -> Iterator[str]:
    """Everything but the details, which are in the files."""
    from stagewhisper.benchmarking.tables import circumstances, missing, pieces, table

    yield circumstances(document)
    for title, members in pieces(results):
        yield ""
        yield printable(title)
        yield from table_lines(table(members))
    left_out = missing(results)
    if left_out:
        yield ""
        yield "Not measured:"
        yield from (f"  {printable(label)}: {printable(why)}" for label, why in left_out)
    if document["verdicts"]:
        yield ""
        yield from (f"{v['claim']}: {v['verdict'].upper()}. {v['reason']}" for v in document["verdicts"])
    yield ""
    yield from (str(path) for path in written)
