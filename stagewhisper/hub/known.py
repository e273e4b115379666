"""The models that have short names, each with the repository and the commit that the name stands for."""

from dataclasses import dataclass
from pathlib import Path

EMBEDDED = "nano"
EMBEDDED_FILES = ("config.json", "generation_config.json", "model.safetensors")


@dataclass(frozen=True)
class KnownModel:
    """A short name and what it stands for.

    `repository` and `revision` are None for the model inside the package. `revision` is a full commit
    hash, so that a name means the same weights every day.
    """

    name: str
    repository: str | None
    revision: str | None
    description: str


def known_models() -> tuple[KnownModel, ...]:
    """Every model with a short name: the embedded one first, then by family and size.

    Two names may share a repository (`large` is `large-v3`, `turbo` is `large-v3-turbo`); the proper name
    comes first.

    Source: the names are openai/whisper's and huggingface/distil-whisper's. Each commit was found with its
    repository in at least two unrelated public projects that pin it.
    """
    return _KNOWN


def known_by_name(name: str) -> KnownModel | None:
    """The model with this short name or, failing that, the first one from this `owner/name` repository."""
    by_name = (model for model in _KNOWN if model.name == name)
    by_repository = (model for model in _KNOWN if model.repository == name)
    return next(by_name, None) or next(by_repository, None)


def embedded_path() -> Path:
    """The embedded model's folder in the installed package."""
    return Path(__file__).parents[1] / "assets" / EMBEDDED


def embedded_is_complete() -> bool:
    """Whether the installed package has all files of the embedded model."""
    return all((embedded_path() / name).is_file() for name in EMBEDDED_FILES)


_KNOWN = (
    KnownModel(EMBEDDED, None, None, "short phrases in en, es, de, fr; inside the package: needs no download"),
    KnownModel(
        "tiny",
        "openai/whisper-tiny",
        "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        "39 M parameters, 99 languages",
    ),
    KnownModel(
        "tiny.en",
        "openai/whisper-tiny.en",
        "87c7102498dcde7456f24cfd30239ca606ed9063",
        "39 M parameters, English",
    ),
    KnownModel(
        "base",
        "openai/whisper-base",
        "e37978b90ca9030d5170a5c07aadb050351a65bb",
        "74 M parameters, 99 languages",
    ),
    KnownModel(
        "base.en",
        "openai/whisper-base.en",
        "911407f4214e0e1d82085af863093ec0b66f9cd6",
        "74 M parameters, English",
    ),
    KnownModel(
        "small",
        "openai/whisper-small",
        "973afd24965f72e36ca33b3055d56a652f456b4d",
        "244 M parameters, 99 languages",
    ),
    KnownModel(
        "small.en",
        "openai/whisper-small.en",
        "e8727524f962ee844a7319d92be39ac1bd25655a",
        "244 M parameters, English",
    ),
    KnownModel(
        "medium",
        "openai/whisper-medium",
        "abdf7c39ab9d0397620ccaea8974cc764cd0953e",
        "769 M parameters, 99 languages",
    ),
    KnownModel(
        "medium.en",
        "openai/whisper-medium.en",
        "2e98eb6279edf5095af0c8dedb36bdec0acd172b",
        "769 M parameters, English",
    ),
    KnownModel(
        "large-v1",
        "openai/whisper-large",
        "4ef9b41f0d4fe232daafdb5f76bb1dd8b23e01d7",
        "1550 M parameters, 99 languages",
    ),
    KnownModel(
        "large-v2",
        "openai/whisper-large-v2",
        "ae4642769ce2ad8fc292556ccea8e901f1530655",
        "1550 M parameters, 99 languages",
    ),
    KnownModel(
        "large-v3",
        "openai/whisper-large-v3",
        "06f233fe06e710322aca913c1bc4249a0d71fce1",
        "1550 M parameters, 100 languages",
    ),
    KnownModel("large", "openai/whisper-large-v3", "06f233fe06e710322aca913c1bc4249a0d71fce1", "the same as large-v3"),
    KnownModel(
        "large-v3-turbo",
        "openai/whisper-large-v3-turbo",
        "41f01f3fe87f28c78e2fbf8b568835947dd65ed9",
        "809 M parameters, 100 languages, fast; transcribes, does not translate",
    ),
    KnownModel(
        "turbo",
        "openai/whisper-large-v3-turbo",
        "41f01f3fe87f28c78e2fbf8b568835947dd65ed9",
        "the same as large-v3-turbo",
    ),
    KnownModel(
        "distil-small.en",
        "distil-whisper/distil-small.en",
        "9e4a67ca4569c30be43a3fe7fba1621e504f0093",
        "166 M parameters, English",
    ),
    KnownModel(
        "distil-medium.en",
        "distil-whisper/distil-medium.en",
        "6e61418885eaf4d5cc9f64e508e80ac5b4c052b7",
        "394 M parameters, English",
    ),
    KnownModel(
        "distil-large-v2",
        "distil-whisper/distil-large-v2",
        "97d2c8f9cae1b0f6c8fc2e173495ee4cedc05843",
        "756 M parameters, English",
    ),
    KnownModel(
        "distil-large-v3",
        "distil-whisper/distil-large-v3",
        "8031d2e6ce6631b7fc45629dddfc00271116d981",
        "756 M parameters, English",
    ),
    KnownModel(
        "distil-large-v3.5",
        "distil-whisper/distil-large-v3.5",
        "728a7691f3ff1d3d971528d3203a6e9559165d41",
        "756 M parameters, English",
    ),
)
