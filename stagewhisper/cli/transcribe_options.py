"""The options of `transcribe`: openai/whisper's names and defaults, and our own beside them.

`evaluate` shares most of the groups.
"""

import argparse

from stagewhisper.cli.values import boolean, formats, integer, number, optional_integer, optional_number, precision


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds everything that `transcribe` understands."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="audio or video files; - reads standard input; patterns such as '*.wav' are expanded",
    )
    add_model_options(parser.add_argument_group("model"))
    _add_output_options(parser.add_argument_group("output"))
    add_task_options(parser.add_argument_group("task"))
    add_search_options(parser.add_argument_group("search"))
    add_fallback_options(parser.add_argument_group("fallback and silence"))
    _add_word_options(
        parser.add_argument_group(
            "words",
            "Accepted so that scripts keep working.\n"
            "This version has no word timestamps and refuses to switch them on.",
        )
    )


def add_cache_option(group: argparse._ActionsContainer) -> None:
    """Adds where models are kept."""
    group.add_argument(
        "--model-dir",
        metavar="DIR",
        help="folder for fetched and compiled models (default: $STAGEWHISPER_CACHE, or the user's cache folder)",
    )


def add_hub_options(group: argparse._ActionsContainer) -> None:
    """Adds where a model comes from: the options that `models path` shares."""
    add_cache_option(group)
    group.add_argument("--revision", metavar="NAME", help="commit, tag or branch of the model on the hub")
    add_switch(group, "--offline", help="never use the network (default: what $HF_HUB_OFFLINE says, or False)")


def add_debug_option(parser: argparse._ActionsContainer) -> None:
    """Adds what every command has for finding faults."""
    parser.add_argument("--debug", action="store_true", help="show all messages, and where in the code a failure arose")


def add_switch(group: argparse._ActionsContainer, name: str, *, help: str, default: bool | None = None) -> None:  # noqa: A002
    """Adds an option that is True when it is given without a value."""
    group.add_argument(name, type=boolean, nargs="?", const=True, default=default, metavar="True|False", help=help)


def add_model_options(group: argparse._ActionsContainer) -> None:
    """Adds which model, and what runs it."""
    group.add_argument(
        "--model",
        default="turbo",
        metavar="NAME",
        help="a name from `stagewhisper models list`, a hub's owner/name, or a path; nano is small, knows short "
        "phrases, and needs no network (default: turbo)",
    )
    add_hub_options(group)
    group.add_argument("--engine", metavar="NAME", help="what runs the model (default: the fastest that is installed)")
    group.add_argument("--device", metavar="NAME", help="where it runs, such as cpu (default: the engine's choice)")
    group.add_argument(
        "--precision",
        "--dtype",
        type=precision,
        metavar="NAME",
        help="fp32 is exact; int8 and int4 are faster or smaller, and change some words; fp16 and bf16, also called "
        "float16 and bfloat16, are for GPUs (default: fp32, and fp16 on CUDA devices)",
    )
    _add_encoder_options(group)
    add_switch(
        group,
        "--fp16",
        help="False is the same as --precision fp32; True changes nothing, since the engine chooses what is fast",
    )
    group.add_argument(
        "--threads",
        type=optional_integer,
        default=0,
        metavar="N",
        help="cores to use; 0 is all physical ones (default: 0)",
    )


def _add_encoder_options(group: argparse._ActionsContainer) -> None:
    """What is given of these holds for the encoder, and `--engine` and its like for the decoder alone."""
    group.add_argument(
        "--encoder-engine",
        metavar="NAME",
        help="what runs the encoder, if that shall be another engine than the decoder's (default: --engine)",
    )
    group.add_argument(
        "--encoder-device",
        metavar="NAME",
        help="where the encoder runs (default: --device, or the choice of an engine of its own)",
    )
    group.add_argument(
        "--encoder-precision",
        "--encoder-dtype",
        type=precision,
        metavar="NAME",
        help="the encoder's precision (default: --precision, or the choice of an engine of its own)",
    )


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "-o", "--output-dir", metavar="DIR", help="folder for the files (default: the current one, if -f is given)"
    )
    group.add_argument(
        "-f",
        "--output-format",
        type=formats,
        metavar="NAMES",
        help="txt, vtt, srt, tsv, json, lrc, one that a package adds, several separated by commas, or all "
        "(default: all, if -o is given); without -o and -f no file is written",
    )
    add_switch(
        group,
        "--verbose",
        help="True adds the times to the text on standard output, False leaves the text out (default: the text alone)",
    )
    add_debug_option(group)


def add_task_options(group: argparse._ActionsContainer, *, with_clips: bool = True) -> None:
    """Adds what is written; `with_clips`, also which parts of a recording, which make sense for one alone."""
    group.add_argument(
        "--task",
        choices=["transcribe", "translate"],
        default="transcribe",
        help="transcribe, or translate into English (default: transcribe)",
    )
    group.add_argument("--language", metavar="NAME", help="code or English name (default: detected)")
    group.add_argument("--initial-prompt", metavar="TEXT", help="text that might have come before the recording")
    add_switch(group, "--carry-initial-prompt", default=False, help="give that text to every window (default: False)")
    group.add_argument("--prefix", metavar="TEXT", help="text that each window has to begin with")
    add_switch(
        group,
        "--condition-on-previous-text",
        default=True,
        help="give each window the text of those before it (default: True)",
    )
    if with_clips:
        group.add_argument(
            "--clip-timestamps",
            default="0",
            metavar="TIMES",
            help="start,end,start,end… in seconds: only these parts; the last end may be missing (default: 0)",
        )
    add_switch(group, "--without-timestamps", default=False, help="let the model write no timestamps (default: False)")


def add_search_options(group: argparse._ActionsContainer) -> None:
    """Adds how the best text of a window is found."""
    group.add_argument(
        "--temperature", type=number, default=0.0, metavar="T", help="0 searches, above 0 draws (default: 0)"
    )
    group.add_argument(
        "--best-of", type=optional_integer, default=5, metavar="N", help="draws of which the best is kept (default: 5)"
    )
    group.add_argument(
        "--beam-size",
        type=optional_integer,
        default=5,
        metavar="N",
        help="beams at temperature 0; None takes the most probable token (default: 5)",
    )
    group.add_argument(
        "--patience", type=optional_number, metavar="P", help="ends a search later, after beam size × P (default: 1)"
    )
    group.add_argument(
        "--length-penalty",
        type=optional_number,
        metavar="A",
        help="exponent of the length normalisation, 0 to 1 (default: divide by the length)",
    )
    group.add_argument(
        "--suppress-tokens",
        default="-1",
        metavar="IDS",
        help="token ids never to write; -1 stands for symbols that are not spoken (default: -1)",
    )
    group.add_argument("--seed", type=integer, default=0, metavar="N", help="seed of the draws (default: 0)")


def add_fallback_options(group: argparse._ActionsContainer) -> None:
    """Adds when a window is decoded again, or left out."""
    group.add_argument(
        "--temperature-increment-on-fallback",
        type=optional_number,
        default=0.2,
        metavar="T",
        help="how much hotter the next try is; None tries once (default: 0.2)",
    )
    group.add_argument(
        "--compression-ratio-threshold",
        type=optional_number,
        default=2.4,
        metavar="R",
        help="try again when the text repeats itself more than this (default: 2.4)",
    )
    group.add_argument(
        "--logprob-threshold",
        type=optional_number,
        default=-1.0,
        metavar="P",
        help="try again when the mean log-probability is below this (default: -1)",
    )
    group.add_argument(
        "--no-speech-threshold",
        type=optional_number,
        default=0.6,
        metavar="P",
        help="silence when the probability of no speech is above this and the text is improbable (default: 0.6)",
    )


def _add_word_options(group: argparse._ActionsContainer) -> None:
    add_switch(group, "--word-timestamps", default=False, help="only False")
    add_switch(group, "--highlight-words", default=False, help="only False")
    for name in ("--max-line-width", "--max-line-count", "--max-words-per-line"):
        group.add_argument(name, type=optional_integer, metavar="None", help="only None")
    group.add_argument("--hallucination-silence-threshold", type=optional_number, metavar="None", help="only None")
    for name in ("--prepend-punctuations", "--append-punctuations"):
        group.add_argument(name, metavar="TEXT", help="without effect")
