"""Implementations are found by name, our own and other packages', and what is wrong is told."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stagewhisper.engines import ENGINES
from stagewhisper.errors import OptionError
from stagewhisper.registry import Registry

BUILT_IN = {"path": "pathlib:Path", "lost": "no_such_package.deep:thing", "broken": "pathlib:NoSuchThing"}


@pytest.fixture
def registry() -> Registry[Any]:
    return Registry("gadget", BUILT_IN)


def install(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    """Pretend that a package was installed that declares these gadgets."""

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, target, group) for name, target in targets.items() if group == "stagewhisper.gadgets"]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


def test_a_name_gives_its_implementation(registry: Registry[Any]) -> None:
    assert registry.get("path") is Path


def test_names_are_sorted_and_cost_no_import(registry: Registry[Any]) -> None:
    assert registry.names() == ("broken", "lost", "path")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"No engine named 'onnx'\. Known: .*onnxruntime.*reference\."):
        ENGINES.get("onnx")


def test_a_missing_dependency_is_named(registry: Registry[Any]) -> None:
    with pytest.raises(
        OptionError, match=r"gadget 'lost' needs the package 'no_such_package', which is not installed\. Install it"
    ):
        registry.get("lost")


def test_a_broken_target_is_named(registry: Registry[Any]) -> None:
    with pytest.raises(OptionError, match=r"gadget 'broken' cannot be imported from 'pathlib:NoSuchThing'.*Reinstall"):
        registry.get("broken")


def test_a_package_that_fails_to_import_is_named(registry: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libgadget.so.3: cannot open shared object file")

    monkeypatch.setattr("importlib.metadata.import_module", fail)
    with pytest.raises(OptionError, match=r"gadget 'path' cannot be imported .*libgadget\.so\.3"):
        registry.get("path")


def test_another_package_adds_a_name(registry: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, joined="os:path.join")
    assert registry.names() == ("broken", "joined", "lost", "path")
    assert registry.get("joined")("a", "b") == "a/b"
    with pytest.raises(OptionError, match="Known: broken, joined, lost, path"):
        registry.get("unknown")


def test_a_plural_that_is_no_s_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, joined="os:path.join")
    assert Registry("wodget", {}, plural="gadgets").names() == ("joined",)
    with pytest.raises(OptionError, match="No wodget named 'x'"):
        Registry("wodget", {}, plural="gadgets").get("x")


def test_another_package_cannot_take_a_name_of_ours(registry: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, path="os:path.join")
    assert registry.names() == ("broken", "lost", "path")
    assert registry.get("path") is Path
    assert registry.third_party("path") is None


def test_a_package_that_wants_a_name_of_ours_is_told_of_once(
    registry: Registry[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, path="os:path.join", joined="os:path.join")
    for _ in range(2):
        assert registry.get("path") is Path
        assert registry.names() == ("broken", "joined", "lost", "path")
    assert caplog.messages == [
        "The gadget 'path' from 'os:path.join' is not used: there is one of that name already, which is ours. "
        "Give it another name."
    ]


def test_of_two_packages_with_one_name_the_first_is_taken_and_the_other_told_of(
    registry: Registry[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points = [EntryPoint("both", value, "stagewhisper.gadgets") for value in ("os:path.join", "os:path.split")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [*points, points[0]])
    assert registry.get("both")("a", "b") == "a/b"
    assert registry.third_party("both") == points[0]
    (message,) = caplog.messages
    assert message.startswith("The gadget 'both' from 'os:path.split' is not used: ")
    assert "already, from 'os:path.join'" in message


def test_a_broken_package_of_others_is_named(registry: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, theirs="no_such_plugin:gadget")
    with pytest.raises(OptionError, match=r"gadget 'theirs' needs the package 'no_such_plugin'"):
        registry.get("theirs")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('boom at import')", r"ValueError: boom at import\. Reinstall"),
        ("raise KeyError", r"KeyError\. Reinstall"),
        ("import sys; sys.exit(3)", r"SystemExit: 3\. Reinstall"),
        ("gadget = (", r"SyntaxError: .*Reinstall"),
        ("gadget = 5", r"is 5 in 'badly_made:gadget'; expected something to call\. Tell the authors"),
    ],
)
def test_a_badly_made_package_is_named_with_what_is_wrong(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    (tmp_path / "badly_made.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "badly_made", raising=False)
    install(monkeypatch, theirs="badly_made:gadget")
    with pytest.raises(OptionError, match=rf"(?s)The gadget 'theirs' .*{reason}"):
        registry.get("theirs")
