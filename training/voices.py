"""Who speaks: eSpeak NG's languages and variants, flite's and festival's voices, and those kept for evaluation.

A held-out variant is held out in all four languages, so that its throat is new to the model, not only its accent.
"""

from dataclasses import dataclass

import numpy as np

ACCENTS = {
    "en": (
        ("en-us", 0.5),
        ("en", 0.15),
        ("en-us-nyc", 0.1),
        ("en-gb-x-rp", 0.1),
        ("en-gb-scotland", 0.08),
        ("en-029", 0.07),
    ),
    "es": (("es", 0.55), ("es-419", 0.45)),
    "de": (("de", 1.0),),
    "fr": (("fr", 0.6), ("fr-be", 0.2), ("fr-ch", 0.2)),
}
"""eSpeak NG's voices by language, with how often each is drawn."""

TRAINED_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f5", "klatt", "klatt2", "klatt4",
    "Alex", "Alicia", "Andrea", "Andy", "antonio", "belinda", "benjamin", "boris", "caleb", "david", "Denis", "Diogo",
    "ed", "edward", "Gene", "Gene2", "grandma", "grandpa", "gustave", "Henrique", "Hugo", "iven", "iven2", "Jacky",
    "john", "kaukovalta", "Lee", "linda", "marcelo", "Marco", "Mario", "max", "michael", "miguel", "mike", "Nguyen",
    "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "travis",
    "Tweaky", "victor", "zac", "adam", "anika",
)  # fmt: skip
"""eSpeak NG's variants, which change a voice's throat; the order is part of what a seed means."""
HELD_OUT_VARIANTS = ("m7", "f4", "klatt3", "Annie", "aunty", "Michel", "steph3", "iven3")

TRAINED_OTHER_VOICES = (
    ("flite", "kal16"), ("flite", "awb"), ("flite", "slt"),
    ("festival", "kal_diphone"), ("festival", "cmu_us_slt_arctic_hts"),
)  # fmt: skip
HELD_OUT_OTHER_VOICES = (("flite", "rms"), ("festival", "ked_diphone"))
"""(engine, voice) of those that speak English only."""


@dataclass(frozen=True)
class Manner:
    """A voice of eSpeak NG and how it speaks."""

    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    word_gap: int


def draw_manner(rng: np.random.Generator, language: str, *, held_out: bool) -> Manner:
    """A voice of the language, with tempo, pitch and pauses of its own."""
    names, weights = zip(*ACCENTS[language], strict=True)
    accent = str(rng.choice(names, p=np.array(weights) / sum(weights)))
    variants = HELD_OUT_VARIANTS if held_out else TRAINED_VARIANTS
    return Manner(
        voice=f"{accent}+{variants[rng.integers(len(variants))]}",
        words_per_minute=int(rng.integers(125, 215)),
        pitch=int(np.clip(rng.normal(50, 18), 5, 95)),
        pitch_range=int(rng.integers(20, 80)),
        word_gap=int(rng.choice([0, 0, 0, 1, 3, 6])),
    )
