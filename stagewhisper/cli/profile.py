"""`stagewhisper profile`: where a compiled model's time goes, and how far it is from what the machine can do."""

import argparse
import json
import logging
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewhisper.cli.bundles import PRECISIONS, find_bundle
from stagewhisper.cli.environment import hub_options
from stagewhisper.cli.messages import Messages
from stagewhisper.cli.output_files import check_writable, write_text
from stagewhisper.cli.parsing import Commands, HelpFormatter
from stagewhisper.cli.streams import print_text
from stagewhisper.cli.transcribe_options import add_debug_option, add_hub_options
from stagewhisper.cli.values import integer, optional_integer
from stagewhisper.errors import OptionError

if TYPE_CHECKING:
    from stagewhisper.compiler.profile_results import Profile

logger = logging.getLogger(__name__)

_NOTES = """\
Times of whole calls are medians without ONNX Runtime's profiler; those of operators are medians
with it, which adds some microseconds to each. The nodes within an If or a Scan are listed
themselves; it has what they leave of its time, recording them included. Operations and bytes are
counted from the shapes that ran. The floor is the longer of two times: the operations at the rate
of matrix products in ONNX Runtime, and the bytes at the rate of reading memory, both measured in
the same run on as many threads. A small model whose weights stay in the processor's caches can be
faster than that.

Other programs make every number worse: let none run."""


def add_command(commands: Commands) -> None:
    """Adds `profile` to the program."""
    parser = commands.add_parser(
        "profile",
        help="where a compiled model's time goes",
        usage="stagewhisper profile [OPTIONS] BUNDLE",
        description="Measures a compiled model operator by operator, beside what the machine can do.",
        epilog=_NOTES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "bundle", metavar="BUNDLE", help="a compiled model's folder, or a model or checkpoint, compiled if need be"
    )
    _add_call_options(parser.add_argument_group("what is called"))
    _add_output_options(parser.add_argument_group("output"))
    add_hub_options(parser.add_argument_group("where models are"))
    parser.set_defaults(run=run)


def positions(text: str) -> tuple[int, ...]:
    """Positions, each once and in their order, from a comma-separated list."""
    numbers = tuple(dict.fromkeys(integer(part.strip()) for part in text.split(",")))
    if min(numbers) < 0:
        raise ArgumentTypeError(f"expected positions from 0 on, got {text!r}")
    return numbers


def run(arguments: argparse.Namespace, _: Messages) -> int:
    """Prints the profile and writes the files asked for."""
    from stagewhisper.compiler.profile import profile
    from stagewhisper.compiler.profile_options import ProfileOptions

    options = ProfileOptions(**_options(arguments))
    check_writable(arguments.json, arguments.html, arguments.trace)
    names = [name for name in (arguments.bundle, arguments.compare) if name is not None]
    precisions = (arguments.precision, arguments.other_precision)
    _check_precisions(names, precisions)
    bundle, *others = [
        find_bundle(name, precision=precision, **hub_options(arguments))
        for name, precision in zip(names, precisions, strict=False)
    ]
    found = profile(
        bundle,
        others[0] if others else None,
        options=options,
        names=names,
        on_phase=lambda phase: logger.info("Measuring %s", phase),
    )
    _write(found, arguments)
    from stagewhisper.cli.profile_report import profile_lines

    print_text("\n".join(profile_lines(found, n_nodes=arguments.nodes)))
    return 0


def _add_call_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--compare", metavar="OTHER", help="a second one, called in turns with the first: after beside before"
    )
    group.add_argument(
        "--precision", choices=PRECISIONS, help="what BUNDLE is compiled in, if it is a model (default: fp32)"
    )
    group.add_argument("--other-precision", choices=PRECISIONS, help="the same for OTHER (default: fp32)")
    group.add_argument("--batch", type=integer, default=1, metavar="N", help="windows in one call (default: 1)")
    group.add_argument("--beams", type=integer, default=1, metavar="N", help="beams of each window (default: 1)")
    group.add_argument(
        "--prompt-tokens", type=integer, default=4, metavar="N", help="tokens of the prompt call (default: 4)"
    )
    group.add_argument(
        "--at",
        type=positions,
        metavar="LIST",
        help="tokens in the cache when a step is measured, separated by commas (default: 10,100,440)",
    )
    group.add_argument(
        "--repeats", type=integer, default=20, metavar="N", help="calls of each kind that count (default: 20)"
    )
    group.add_argument(
        "--threads",
        type=optional_integer,
        default=0,
        metavar="N",
        help="cores to use; 0 is all physical ones (default: 0)",
    )


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--nodes", type=integer, default=0, metavar="N", help="list the N slowest nodes of each phase too (default: 0)"
    )
    group.add_argument("--json", metavar="FILE", help="write everything that was measured")
    group.add_argument("--html", metavar="FILE", help="write a page with bars for the operators and the roofline")
    group.add_argument(
        "--trace", metavar="FILE", help="write one call of each kind for ui.perfetto.dev or chrome://tracing"
    )
    add_debug_option(group)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    for option in ("batch", "beams", "prompt_tokens", "repeats"):
        if getattr(arguments, option) < 1:
            name = option.replace("_", "-")
            raise OptionError(f"--{name} is {getattr(arguments, option)}, and has to be 1 or more.")
    if arguments.nodes < 0:
        raise OptionError(f"--nodes is {arguments.nodes}, and has to be 0 or more.")
    if arguments.threads is not None and arguments.threads < 0:
        raise OptionError(f"--threads is {arguments.threads}, and has to be 1 or more, or 0 for all physical cores.")
    return {
        "n_audio": arguments.batch,
        "n_group": arguments.beams,
        "n_prompt": arguments.prompt_tokens,
        "positions": arguments.at,
        "threads": arguments.threads or None,
        "repeats": arguments.repeats,
    }


def _check_precisions(names: Sequence[str], precisions: Sequence[str | None]) -> None:
    """Refuses what would be ignored, and what would be compiled and could not be measured then."""
    from stagewhisper.bundle import is_bundle

    if precisions[1] is not None and len(names) < 2:
        raise OptionError(
            f"--other-precision {precisions[1]} is for a second model, and there is none. "
            "Name it with --compare, or write --precision."
        )
    for name, precision, option in zip(names, precisions, ("precision", "other-precision"), strict=False):
        if precision == "fp16" and not is_bundle(Path(name)):
            raise OptionError(
                f"--{option} fp16 is for GPUs, and a profile measures on the CPU, which would run other operators. "
                "Choose fp32, int8 or int4."
            )


def _write(profile: "Profile", arguments: argparse.Namespace) -> None:
    if arguments.trace is not None:
        from stagewhisper.compiler.chrome_trace import chrome_trace

        write_text(arguments.trace, json.dumps(chrome_trace(profile)) + "\n")
    if arguments.json is None and arguments.html is None:
        return
    document = _document(profile)
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(document) + "\n")
    if arguments.html is not None:
        from stagewhisper.cli.profile_page import profile_page

        write_text(arguments.html, profile_page(document))


def _document(profile: "Profile") -> dict[str, Any]:
    """The profile with where and when it was made."""
    import datetime as dt

    from stagewhisper.evaluation.machine import machine, versions

    return {
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine(threads=profile.options["threads"]),
        "versions": versions(),
        **profile.to_dict(),
    }
