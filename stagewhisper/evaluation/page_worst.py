"""The clips that went worst: what was said, what was written instead, and the recording to judge by."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from stagewhisper.evaluation.page_audio import AUDIO_SECONDS
from stagewhisper.evaluation.page_diff import diff, legend
from stagewhisper.evaluation.page_markup import Html, joined, tag
from stagewhisper.evaluation.page_numbers import counted, percent, seconds

Clip: TypeAlias = Mapping[str, Any]

N_WORST = 20
"""Clips shown with their sound; at 75 kB of sound each, the page stays small enough to send."""

_MEDIA_TYPES = {b"\x1a\x45\xdf\xa3": "audio/webm", b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"RIFF": "audio/wav"}


def worst_clips(clips: Sequence[Clip]) -> list[Clip]:
    """At most `N_WORST` clips with errors, the most errors per word first, then the most errors.

    Text where nothing is said counts as errors in one word, so that it is not lost for want of a rate.
    """
    wrong = (clip for clip in clips if _n_errors(clip))
    return sorted(wrong, key=lambda c: (-_n_errors(c) / max(1, c["words"]["n_reference"]), -_n_errors(c)))[:N_WORST]


def worst_section(clips: Sequence[Clip], audio_of: Callable[[str], bytes | None]) -> Html:
    """A card for each of the worst clips, or a line that says there is none."""
    worst = worst_clips(clips)
    if not worst:
        return tag("p", "No clip has an error." if clips else "No clip was transcribed.", class_="note")
    return joined((legend(), tag("div", *(_card(clip, audio_of(clip["id"])) for clip in worst), class_="clips")))


def _card(clip: Clip, audio: bytes | None) -> Html:
    return tag(
        "article",
        tag("h3", tag("bdi", clip["audio"])),
        tag("ul", *(tag("li", fact) for fact in _facts(clip)), class_="facts"),
        _player(audio, clip),
        diff(clip["diff"], language=clip["language"]),
        _as_written(clip),
        class_="clip",
    )


def _facts(clip: Clip) -> Iterator[Html]:
    words = clip["words"]
    if words["n_reference"]:
        rate = tag("strong", "WER ", percent(words["rate"]))
        yield joined((rate, ", ", counted(_n_errors(clip), "error"), " in ", counted(words["n_reference"], "word")))
    else:
        yield joined((tag("strong", "nothing is said"), ", ", counted(_n_errors(clip), "word"), " written"))
    if clip["n_five_gram_insertions"]:
        yield counted(clip["n_five_gram_insertions"], "hallucinated 5-gram")
    yield joined([_language(clip)])
    for fact in (clip["subset"], clip["speaker"] and f"speaker {clip['speaker']}"):
        if fact:
            yield tag("bdi", fact)
    yield seconds(clip["duration"])


def _language(clip: Clip) -> str:
    language, detected = clip["language"] or "unknown language", clip["detected_language"]
    text = language if detected in (None, language) else f"{language}, taken for {detected}"
    return text if clip["task"] == "transcribe" else f"{text}, {clip['task']}"


def _player(audio: bytes | None, clip: Clip) -> Html:
    if audio is None:
        return tag("p", "The recording is not in this page.", class_="note")
    media_type = next((kind for magic, kind in _MEDIA_TYPES.items() if audio.startswith(magic)), "audio/mpeg")
    source = f"data:{media_type};base64,{base64.b64encode(audio).decode()}"
    player = tag("audio", controls=True, preload="metadata", src=source, aria_label=f"Recording {clip['audio']}")
    if clip["duration"] <= AUDIO_SECONDS:
        return player
    return joined((player, tag("p", f"The first {AUDIO_SECONDS} s of it.", class_="note")))


def _as_written(clip: Clip) -> Html:
    texts = [("Reference", clip["reference"]), ("Transcript", clip["hypothesis"])]
    if clip["reference_model"] is not None:
        texts.append(("Reference model", clip["reference_model"]["hypothesis"]))
    entries = (
        joined((tag("dt", name), tag("dd", text or "no text", dir="auto", lang=clip["language"] if text else None)))
        for name, text in texts
    )
    return tag("details", tag("summary", "As written"), tag("dl", *entries, class_="texts"))


def _n_errors(clip: Clip) -> int:
    words = clip["words"]
    n_errors: int = words["substitutions"] + words["deletions"] + words["insertions"]
    return n_errors
