"""What the model card and the README say of nano's hearing, as lines of Markdown made from the stored results.

    nano.json             the shipped model on all sets          ─┐
    nano_strangers.json   the model before it heard anybody of    ├─► model card
                          the sets of real people                ─┘    README: one sentence

Both come from `nano.py`: figures by normaliser and set, as `stagewhisper.evaluation.Figures.to_dict` gives them, and
under "model" the digest of the weights.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NORMALIZER = "basic"
PEOPLE = ("fsdd", "an4")
"""Sets of real people, who are strangers to the model of nano_strangers.json alone."""
TITLES = {
    "fsdd": "digits, a person of FSDD",
    "an4": "spelling, dates, numbers, commands, people of AN4",
    "synthetic-en": "English, eSpeak NG",
    "synthetic-en-other": "English, flite and festival",
    "synthetic-es": "Spanish, eSpeak NG",
    "synthetic-de": "German, eSpeak NG",
    "synthetic-fr": "French, eSpeak NG",
    "translate-es": "Spanish into English, eSpeak NG",
    "translate-de": "German into English, eSpeak NG",
    "translate-fr": "French into English, eSpeak NG",
    "synthetic-long": "many utterances with pauses, eSpeak NG",
    "silence": "silence and noise",
}
NOTHING = "–"

Sets = Mapping[str, Any]


def card_lines(shipped: Mapping[str, Sets] | None, strangers: Mapping[str, Sets] | None) -> list[str]:
    """The card's tables: real people first, as strangers, then everything with the shipped model."""
    if shipped is None or strangers is None:
        return ["Not measured yet: `benchmarks/nano.py` measures, `benchmarks/tables.py` writes this part.", ""]
    return [
        "People whom the model never heard. It is the shipped one before its last steps, which add these people too:",
        "",
        *table(strangers[NORMALIZER], PEOPLE),
        "",
        "The shipped model. Sentences, voices and noises are new to it; the people of FSDD and AN4 no longer are:",
        "",
        *table(shipped[NORMALIZER], TITLES),
        "",
        "As `stagewhisper evaluate --normalizer basic` does it: language detected, five beams, temperatures fall back,",
        "words counted one by one without capitals and punctuation. Intervals are 95 % bootstrap intervals over clips.",
        f"SHA-256 of the shipped weights begins with `{shipped['model']['sha256'][:12]}`, of those before with",
        f"`{strangers['model']['sha256'][:12]}`.",
        "",
    ]


def table(sets: Sets, names: Iterable[str]) -> list[str]:
    """A row for each of these sets that was measured."""
    head = ("set", "clips", "WER", "interval", "CER", "language right", "start and end within 0.1 s", "text from none")
    rows = [_cells(name, sets[name]) for name in names if name in sets]
    return [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *map(_row, rows)]


def readme_lines(shipped: Mapping[str, Sets] | None, strangers: Mapping[str, Sets] | None) -> Iterator[str]:
    """One sentence, or none before anything was measured."""
    if shipped is None or strangers is None:
        return
    people, voices = strangers[NORMALIZER], shipped[NORMALIZER]
    rates = [f"{what} {_wer(people[name])}" for what, name in zip(("digits", "AN4"), PEOPLE, strict=True)]
    spoken = [f"{code} {_wer(voices[f'synthetic-{code}'])}" for code in ("en", "es", "de", "fr")]
    yield (
        f"Word error rates of the embedded model `nano`: synthetic voices it never heard {', '.join(spoken)}; "
        f"people it had not heard before its last training steps, which add them, {', '.join(rates)} "
        "([model card](stagewhisper/assets/nano/README.md))."
    )
    yield ""


def _cells(name: str, figures: Mapping[str, Any]) -> list[str]:
    language, timing, silence = figures["language"], figures["timing"], figures["silence"]
    return [
        TITLES.get(name, name),
        str(figures["n_clips"]),
        _wer(figures),
        _interval(figures["wer"]["interval"]),
        _percent(figures["cer"]["rate"]),
        _percent(language["share"]),
        _percent(timing["share"]),
        f"{silence['n_with_text']} of {silence['n_clips']}" if silence["n_clips"] else NOTHING,
    ]


def _wer(figures: Mapping[str, Any]) -> str:
    return _percent(figures["wer"]["rate"])


def _interval(interval: tuple[float, float] | None) -> str:
    return NOTHING if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
