import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stagewhisper.cli import main
from stagewhisper.errors import HubError
from stagewhisper.hub import CachedModel, KnownModel

KNOWN = (
    KnownModel("nano", None, None, "short phrases"),
    KnownModel("tiny", "openai/whisper-tiny", "c1", "39 M parameters"),
    KnownModel("large-v3", "openai/whisper-large-v3", "c2", "1550 M parameters"),
    KnownModel("large", "openai/whisper-large-v3", "c2", "the same as large-v3"),
    KnownModel("base", "openai/whisper-base", "c3", "74 M parameters"),
)
CACHED = (
    CachedModel("nano", None, Path("/package/nano"), 2_000_000),
    CachedModel("tiny", "openai/whisper-tiny", None, 0),
    CachedModel("large-v3", "openai/whisper-large-v3", Path("/cache/large-v3"), 3_087_000_000),
    CachedModel("base", "openai/whisper-base", None, 1_000),
    CachedModel("someone/fine-tune", "someone/fine-tune", Path("/cache/fine"), 151_000_000),
)


@pytest.fixture
def asked(monkeypatch):
    """What the hub was asked for; it knows KNOWN, has CACHED, and finds `tiny` only."""
    questions = []

    def cached_models(cache_dir=None):
        questions.append(("cached_models", cache_dir))
        return CACHED

    def find_model(name, **options):
        questions.append((name, options))
        if name != "tiny":
            raise HubError(f"No model named {name!r}. Known: tiny.")
        return Path("/cache/tiny")

    hub = ModuleType("stagewhisper.hub")
    hub.known_models, hub.cached_models, hub.find_model = lambda: KNOWN, cached_models, find_model
    monkeypatch.setitem(sys.modules, "stagewhisper.hub", hub)
    for name in ("HF_HUB_OFFLINE", "STAGEWHISPER_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return questions


def test_the_list_has_every_known_name_and_what_else_is_in_the_cache(asked, capsys):
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "nano                     2 MB  short phrases",
        "tiny                        -  39 M parameters",
        "large-v3              3087 MB  1550 M parameters",
        "large                 3087 MB  the same as large-v3",
        "base               incomplete  74 M parameters",
        "someone/fine-tune      151 MB",
    ]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (60, ["nano            2 MB  short phrases", "large        3087 MB  the same as large-v3"]),
        (40, ["nano            2 MB", "    short phrases", "    the same as large-v3"]),
        (30, ["nano            2 MB", "    the same as large-v3"]),
    ],
)
def test_the_list_fits_a_narrow_terminal(asked, monkeypatch, columns, lines):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["models", "list"]) == 0
    written = terminal.getvalue().splitlines()
    assert set(lines) < set(written)
    assert "someone/fine-tune      151 MB" in written  # its name is wider than the column, which pushes no other row
    assert max(map(len, written)) < columns


def test_a_long_description_is_folded_under_itself(asked, monkeypatch):
    model = KnownModel("nano", None, None, "short phrases and nothing else in the world")
    monkeypatch.setattr(sys.modules["stagewhisper.hub"], "known_models", lambda: (model,))
    monkeypatch.setattr(sys, "stdout", terminal := _Terminal())
    monkeypatch.setenv("COLUMNS", "48")
    main(["models", "list"])
    assert terminal.getvalue().splitlines()[:2] == [
        "nano        2 MB  short phrases and nothing",
        "                  else in the world",
    ]


def test_the_list_as_json_has_repository_revision_path_and_size(asked, capsys):
    assert main(["models", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ["nano", "tiny", "large-v3", "large", "base", "someone/fine-tune"]
    assert rows["tiny"]["path"] is None
    assert rows["large"] == {
        "name": "large",
        "repository": "openai/whisper-large-v3",
        "revision": "c2",
        "description": "the same as large-v3",
        "path": str(Path("/cache/large-v3")),
        "bytes_on_disk": 3_087_000_000,
    }


def test_the_list_looks_into_the_cache_that_is_named(asked, capsys, monkeypatch):
    monkeypatch.setenv("STAGEWHISPER_CACHE", "from-environment")
    main(["models", "list"])
    main(["models", "list", "--model_dir", "from-option"])
    assert asked == [("cached_models", Path("from-environment")), ("cached_models", Path("from-option"))]


def test_the_path_is_printed_alone(asked, capsys):
    assert main(["models", "path", "tiny"]) == 0
    assert capsys.readouterr() == (f"{Path('/cache/tiny')}\n", "")
    assert asked == [("tiny", {"cache_dir": None, "offline": False, "revision": None})]


def test_the_path_options_reach_the_hub(asked, capsys):
    main(["models", "path", "--offline", "tiny", "--revision", "main", "--model-dir", "m"])
    assert asked == [("tiny", {"cache_dir": Path("m"), "offline": True, "revision": "main"})]


def test_the_hubs_offline_variable_holds_for_the_path_too(asked, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    main(["models", "path", "tiny"])
    assert asked[0][1]["offline"] is True


def test_a_model_that_is_not_found_is_one_line(asked, capsys):
    assert main(["models", "path", "tinny"]) == 2
    assert capsys.readouterr() == ("", "stagewhisper: error: No model named 'tinny'. Known: tiny.\n")
