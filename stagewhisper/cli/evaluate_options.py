"""The options of `evaluate`: those of `transcribe` that make sense for many clips, and what is to be measured."""

import argparse

from stagewhisper.cli.transcribe_options import (
    add_debug_option,
    add_fallback_options,
    add_model_options,
    add_search_options,
    add_switch,
    add_task_options,
)
from stagewhisper.cli.values import integer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds everything that `evaluate` understands."""
    parser.add_argument("datasets", metavar="DATA_SET", nargs="+", help="manifests or folders of recordings with texts")
    add_model_options(parser.add_argument_group("model"))
    _add_measure_options(parser.add_argument_group("measuring"))
    _add_output_options(parser.add_argument_group("output"))
    add_task_options(parser.add_argument_group("task"), with_clips=False)
    add_search_options(parser.add_argument_group("search"))
    add_fallback_options(parser.add_argument_group("fallback and silence"))


def _add_measure_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--reference",
        metavar="MODEL",
        help="a second model, or the --json file of an earlier run (.json), to compare with: adds QoI",
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
    group.add_argument("--limit", type=integer, metavar="N", help="only the first N clips of each data set")
    add_switch(
        group,
        "--resume",
        default=True,
        help="take over what an interrupted run of the same command has finished (default: True)",
    )


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument("--json", metavar="FILE", help="write everything that was measured")
    group.add_argument("--html", metavar="FILE", help="write a page with figures, a chart and the worst clips")
    add_debug_option(group)
