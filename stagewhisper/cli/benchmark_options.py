"""The options of `benchmark`: the axes of the grid, what is transcribed, and how it is measured."""

import argparse

from stagewhisper.cli.transcribe_options import add_cache_option, add_debug_option, add_switch
from stagewhisper.cli.values import integer, number

DEFAULT_FOLDER = "stagewhisper-benchmark"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds everything that `benchmark` understands; lists are separated by commas."""
    parser.add_argument(
        "--preset",
        choices=["article"],
        help="the design of an article that compared Whisper JAX with PyTorch, and a verdict on each of its claims; "
        "other options come before it",
    )
    _add_grid_options(parser.add_argument_group("grid", "Lists have commas; all combinations are measured."))
    _add_audio_options(parser.add_argument_group("audio"))
    _add_decoding_options(parser.add_argument_group("decoding"))
    _add_measure_options(parser.add_argument_group("measuring"))
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        default=DEFAULT_FOLDER,
        help=f"where everything is kept (default: {DEFAULT_FOLDER})",
    )
    group.add_argument("--fresh", action="store_true", help="forget what an earlier run has left in FOLDER")
    add_debug_option(group)
    group = parser.add_argument_group("where models are")
    add_cache_option(group)
    add_switch(group, "--offline", help="never use the network (default: what $HF_HUB_OFFLINE says, or False)")


def _add_grid_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--engines",
        "--engine",
        metavar="LIST",
        help="onnxruntime, pytorch, jax, reference; openai-whisper, transformers, faster-whisper; what is not "
        "installed is told (default: all but reference)",
    )
    group.add_argument("--device", metavar="LIST", help="cpu, cuda, cuda:1, mps, tpu (default: cpu)")
    group.add_argument(
        "--model",
        metavar="LIST",
        help="names from `stagewhisper models list`, a hub's owner/name, or paths of checkpoints (default: nano, which "
        "comes with the program)",
    )
    group.add_argument(
        "--random-shape",
        metavar="LIST",
        help="tiny, base, small, large-v3, large-v3-turbo: such models with random weights, so that nothing has "
        "to be fetched",
    )
    group.add_argument("--dtype", metavar="LIST", help="float32, float16, bfloat16, int8, int4 (default: float32)")
    group.add_argument("--batch", metavar="LIST", help="windows side by side; none is 1 (default: 1,8)")
    group.add_argument(
        "--mode",
        metavar="LIST",
        help="sequential, one window after the other; batched, as many side by side as --batch says (default: both)",
    )


def _add_audio_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--seconds",
        type=number,
        metavar="N",
        help="one long recording, made of the one that comes with the program (default: as many windows as the largest "
        "batch, at least 4)",
    )
    group.add_argument("--utterances", type=integer, metavar="N", help="N short recordings, made likewise")
    group.add_argument(
        "--data",
        action="append",
        metavar="DATA_SET",
        help="recordings with texts instead, as `stagewhisper evaluate` takes them: adds error rates; may be given "
        "several times",
    )
    group.add_argument("--limit", type=integer, metavar="N", help="only the first N clips of each data set")
    group.add_argument(
        "--normalizer",
        choices=["auto", "english", "basic", "none"],
        default="auto",
        help="what is done to texts before they are compared; auto goes by the language (default: auto)",
    )


def _add_decoding_options(group: argparse._ActionsContainer) -> None:
    group.add_argument("--beam-size", type=integer, default=1, metavar="N", help="beams; 1 is greedy (default: 1)")
    group.add_argument(
        "--tokens",
        metavar="N",
        help="exactly N tokens a window, or free: to the end (default: free, and 100 with --random-shape)",
    )
    group.add_argument(
        "--language",
        default="en",
        metavar="NAME",
        help="spoken language of recordings whose own is not known (default: en)",
    )


def _add_measure_options(group: argparse._ActionsContainer) -> None:
    group.add_argument("--repeats", type=integer, default=5, metavar="N", help="warm runs of each point (default: 5)")
    group.add_argument(
        "--threads", type=integer, metavar="N", help="cores that a program may use (default: the program's choice)"
    )
    add_switch(
        group,
        "--interleave",
        default=True,
        help="measure points of the same work in turn, all in memory together; False takes one at a time "
        "(default: True)",
    )
    add_switch(
        group,
        "--cold",
        default=True,
        help="compile everything anew for each point; False takes what earlier runs have compiled (default: True)",
    )
    group.add_argument(
        "--timeout",
        type=number,
        default=3600.0,
        metavar="S",
        help="the most seconds that loading, or one run, may take (default: 3600)",
    )
