"""`stagewhisper models`: which models there are, and where they lie."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.streams import print_text
from stagewhisper.cli.transcribe_options import add_cache_option, add_debug_option, add_hub_options

_NARROWEST_DESCRIPTION = 24  # columns; where fewer are left beside name and size, it goes below them


def add_command(commands: Commands) -> None:
    """Adds `models list` and `models path` to the program."""
    parser = commands.add_parser(
        "models",
        help="which models there are, and where they lie",
        usage="stagewhisper models {list,path} ...",
        description="Lists models, or fetches one.",
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(
        title="commands", metavar="COMMAND [...]", required=True, prog="stagewhisper models"
    )
    _add_list(actions)
    _add_path(actions)


def run_list(arguments: argparse.Namespace, _: Messages) -> int:
    """Prints every model with a short name, and every other one in the cache; no request is made."""
    rows = _rows(hub_options(arguments)["cache_dir"])
    if arguments.json:
        print_text(json.dumps(rows, indent=2))
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_text("\n".join(_lines(rows, width=width)))
    return 0


def run_path(arguments: argparse.Namespace, _: Messages) -> int:
    """Prints a model's local folder, fetched first if it is not there."""
    from stagewhisper.hub import find_model

    print_text(str(find_model(arguments.name, **hub_options(arguments))))
    return 0


def _add_list(actions: Commands) -> None:
    parser = actions.add_parser(
        "list",
        help="names of models, with what of each is on this disk",
        usage="stagewhisper models list [OPTIONS]",
        description="Prints the models that have a short name and those in the cache. Makes no request.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="name, repository, revision, path, bytes as JSON")
    add_cache_option(parser)
    add_debug_option(parser)
    parser.set_defaults(run=run_list, offline=True, revision=None)


def _add_path(actions: Commands) -> None:
    parser = actions.add_parser(
        "path",
        help="the local folder of a model, fetched if need be",
        usage="stagewhisper models path [OPTIONS] NAME",
        description="Prints the folder of a model on this machine, and fetches the model first if it may.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="a name from `models list`, owner/name, or a path")
    add_hub_options(parser)
    add_debug_option(parser)
    parser.set_defaults(run=run_path)


def _rows(cache_dir: Any) -> list[dict[str, Any]]:
    """Known models in their order, then the others; two names of one repository share what is on the disk."""
    from stagewhisper.hub import cached_models, known_models

    cached = {(model.repository or model.name): model for model in cached_models(cache_dir)}
    rows = []
    for model in known_models():
        here = cached[model.repository or model.name]
        rows.append(_row(model.name, model.repository, model.revision, model.description, here))
    known = {row["repository"] for row in rows}
    others = (model for model in cached.values() if model.repository not in known)
    return rows + [_row(other.name, other.repository, None, "", other) for other in others]


def _row(name: str, repository: str | None, revision: str | None, description: str, here: Any) -> dict[str, Any]:
    return {
        "name": name,
        "repository": repository,
        "revision": revision,
        "description": description,
        "path": None if here.path is None else str(here.path),
        "bytes_on_disk": here.bytes_on_disk,
    }


def _lines(rows: list[dict[str, Any]], *, width: int | None) -> Iterator[str]:
    """One line per model for programs, whose `width` is None; folded ones for people."""
    # On a screen, one long owner/name must not push the descriptions of all others away.
    names = [row["name"] for row in rows if width is None or row["description"]]
    name_width = max(map(len, names), default=0)
    for row in rows:
        start = f"{row['name']:{name_width}}  {_on_disk(row):>10}  "
        indent = len(start) if width is None or width >= len(start) + _NARROWEST_DESCRIPTION else 4
        if indent < len(start) and row["description"]:
            yield start.rstrip()
            start = " " * indent
        columns = None if width is None else max(width - 1, indent + _NARROWEST_DESCRIPTION)
        yield _folded(start, row["description"], indent=indent, width=columns)


def _folded(start: str, text: str, *, indent: int, width: int | None) -> str:
    if width is None or not text:
        return (start + text).rstrip()
    import textwrap

    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * indent, break_on_hyphens=False)


def _on_disk(row: dict[str, Any]) -> str:
    if row["path"] is None:
        return "incomplete" if row["bytes_on_disk"] else "-"
    return f"{row['bytes_on_disk'] / 1e6:.0f} MB"
