"""A bundle is written whole or not at all, and whatever happens to it later is noticed and named."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stagewhisper.bundle
from stagewhisper.bundle import (
    FILES,
    HELD,
    MANIFEST,
    STAMP,
    Bundle,
    check_place,
    is_abandoned,
    is_bundle,
    read_bundle,
    remove_abandoned,
    writing_bundle,
)
from stagewhisper.errors import BundleError
from tests.checkpoints import random_dims


def bundle_at(path: Path, **changes: Any) -> Bundle:
    """What a bundle of made-up files would be."""
    made_up = Bundle(
        path,
        random_dims(),
        "fp32",
        source_digest="5" * 64,
        alignment_heads=((0, 1), (1, 0)),
        target="gpu",
        recipe="mine",
        recipe_digest="7" * 64,
        compiler="0.1 abc",
    )
    return replace(made_up, **changes)


def write(bundle: Bundle) -> None:
    with writing_bundle(bundle) as folder:
        for name in FILES:
            (folder / name).write_bytes(name.encode() * 100)


def write_half(bundle: Bundle) -> None:
    with writing_bundle(bundle) as folder:
        (folder / "encoder.onnx").write_bytes(b"half of it")
        raise KeyboardInterrupt


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle on disk."""
    bundle = bundle_at(tmp_path / "cache" / "some")
    write(bundle)
    return bundle


def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert is_bundle(bundle.path)
    assert read_bundle(bundle.path) == bundle
    assert bundle.encoder.is_file()
    assert bundle.decoder.is_file()
    assert bundle.tokenizer.is_file()
    assert bundle.report.is_file()
    assert {file.name for file in bundle.path.iterdir()} == {*FILES, MANIFEST, STAMP}


def test_a_checkpoint_without_alignment_heads_gives_a_bundle_without(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "some", alignment_heads=None)
    write(bundle)
    assert read_bundle(bundle.path).alignment_heads is None


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(bundle_at(tmp_path / "some"))
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_goes_and_what_others_make_stays(tmp_path: Path) -> None:
    path = tmp_path / "some"
    program = f"""
import os, pathlib, sys
from tests.test_bundle import bundle_at, writing_bundle
with writing_bundle(bundle_at(pathlib.Path({str(path)!r}))) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        foreign = theirs.parent / ".some-folder"
        foreign.mkdir()
        for place in (theirs, theirs / HELD, foreign):
            os.utime(place, (1, 1))
        assert is_abandoned(theirs) is False
        remove_abandoned(path)
        assert theirs.is_dir()
        process.kill()
    assert is_abandoned(theirs) is True
    assert is_abandoned(foreign) is None
    remove_abandoned(path)
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_bundle_that_lacks_a_file_is_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Cannot write"), writing_bundle(bundle_at(tmp_path / "some")) as folder:
        (folder / "encoder.onnx").write_bytes(b"alone")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_older_bundle_alone(bundle: Bundle) -> None:
    with pytest.raises(ZeroDivisionError), writing_bundle(replace(bundle, source_digest="6" * 64)):
        raise ZeroDivisionError
    assert read_bundle(bundle.path) == bundle


def test_a_full_disk_is_reported_with_a_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"No space left on device.*Free some space"),
        writing_bundle(bundle_at(tmp_path / "some")),
    ):
        raise OSError(28, "No space left on device")


def test_a_place_that_cannot_be_written_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(BundleError, match=r"cache.*: (File exists|Not a directory)\. Name another place for it\.$"):
        write(bundle_at(tmp_path / "cache" / "some"))


@pytest.mark.parametrize("name", ["some", "new/folders/some", "é" * 120, "standing", "standing/some", "nowhere"])
def test_a_place_that_will_do_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "standing").mkdir()
    (tmp_path / "standing" / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    before = sorted(tmp_path.rglob("*"))
    check_place(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    write(bundle_at(tmp_path / name))
    assert is_bundle(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "File name too long"),
        ("new/" + "x" * 300, "File name too long"),
        ("file/some", "Not a directory"),
        ("file/deep/some", "Not a directory"),
        (".", "it is mounted there, or the folder that you are in"),
        ("..", "it is mounted there, or the folder that you are in"),
        ("/", "it is mounted there"),
        ("/proc/x/y", "No such file or directory"),
    ],
)
def test_a_place_that_will_not_do_is_refused_with_its_reason(
    tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=rf"Cannot write the compiled model to .*: {reason}.*\. Name another place"):
        check_place(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, mode: int = 0o777) -> None:
        raise OSError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr("os.mkdir", refuse)  # permissions do not stop root
    with pytest.raises(BundleError, match=r"Read-only file system\. Name another place for it"):
        check_place(tmp_path / "some")


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip_bit, cut, make_folder, Path.unlink])
def test_a_damaged_file_is_named(bundle: Bundle, name: str, damage: Callable[[Path], None]) -> None:
    damage(bundle.path / name)
    with pytest.raises(BundleError, match=rf"{name}.*Compile the bundle again"):
        read_bundle(bundle.path)


def manifest_with(bundle: Bundle, **changes: Any) -> str:
    return json.dumps(json.loads((bundle.path / MANIFEST).read_text()) | changes)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "null", "[]", "3", '"text"', "{}", b"\xff\xfe\x00", '{"format_version": 2}', "9" * 5000],
)
def test_a_manifest_that_is_none_is_refused(bundle: Bundle, text: str | bytes) -> None:
    (bundle.path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=r"some.*Compile it again"):
        read_bundle(bundle.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"dims": None},
        {"dims": []},
        {"dims": {"n_mels": 80}},
        {"dims": random_dims().to_dict() | {"n_mels": "80"}},
        {"dims": random_dims().to_dict() | {"n_mels": 10**9}},
        {"files": None},
        {"files": []},
        {"files": {}},
        {"files": dict.fromkeys(FILES)},
        {"files": {name: {"size": "many", "sha256": ""} for name in FILES}},
        {"files": {name: {"size": float("inf"), "sha256": ""} for name in FILES}},
        {"files": {name: {"size": float("nan"), "sha256": ""} for name in FILES}},
        {"alignment_heads": 3},
        {"alignment_heads": [1, 2]},
        {"alignment_heads": [[1, 2, 3]]},
        {"alignment_heads": [["a", "b"]]},
    ],
    ids=repr,
)
def test_a_manifest_with_wrong_contents_is_refused(bundle: Bundle, changes: dict[str, Any]) -> None:
    (bundle.path / MANIFEST).write_text(manifest_with(bundle, **changes))
    with pytest.raises(BundleError, match=r"(?s)some is damaged.*Compile it again"):
        read_bundle(bundle.path)


@pytest.mark.parametrize("version", [0, 1, "2", None, [1]])
def test_another_format_version_is_refused(bundle: Bundle, version: object) -> None:
    (bundle.path / MANIFEST).write_text(manifest_with(bundle, format_version=version))
    with pytest.raises(BundleError, match=r"format version .*; this release reads 2"):
        read_bundle(bundle.path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    assert not is_bundle(tmp_path)
    assert not is_bundle(tmp_path / "missing")
    assert not is_bundle(tmp_path / ("long" * 100))
    with pytest.raises(BundleError, match=r"not a compiled model.*manifest\.json"):
        read_bundle(tmp_path)


def forbid_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(stagewhisper.bundle, "file_digest", digest)


def test_digests_are_computed_only_for_files_that_changed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(bundle.path / "decoder.weights", (1, 1))
    assert read_bundle(bundle.path) == bundle
    forbid_digests(monkeypatch)
    assert read_bundle(bundle.path) == bundle
    os.utime(bundle.path / "decoder.weights", (2, 2))
    with pytest.raises(AssertionError, match=r"decoder\.weights was read"):
        read_bundle(bundle.path)


@pytest.mark.parametrize("text", [None, "", "{", "[" * 100_000, "null", "[1]", '{"encoder.onnx": 5}', b"\xff"])
def test_a_broken_stamp_costs_a_check_and_no_more(
    bundle: Bundle, text: str | bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = bundle.path / STAMP
    if text is None:
        stamp.unlink()
    else:
        stamp.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_bundle(bundle.path) == bundle
    forbid_digests(monkeypatch)  # the stamp is good again
    assert read_bundle(bundle.path) == bundle


def test_a_stamp_that_cannot_be_written_does_not_matter(bundle: Bundle) -> None:
    make_folder(bundle.path / STAMP)
    assert read_bundle(bundle.path) == bundle
    flip_bit(bundle.path / "encoder.weights")
    with pytest.raises(BundleError, match=r"encoder\.weights"):
        read_bundle(bundle.path)


def test_an_intact_bundle_is_kept_for_those_who_are_about_to_open_it(bundle: Bundle) -> None:
    before = bundle.encoder.stat().st_ino
    write(bundle)
    assert bundle.encoder.stat().st_ino == before
    assert [path.name for path in bundle.path.parent.iterdir()] == ["some"]


@pytest.mark.parametrize("name", ["encoder.weights", MANIFEST])
def test_a_damaged_bundle_is_replaced(bundle: Bundle, name: str) -> None:
    flip_bit(bundle.path / name)
    write(bundle)
    assert read_bundle(bundle.path) == bundle
    assert [path.name for path in bundle.path.parent.iterdir()] == ["some"]


def test_another_bundle_is_replaced(bundle: Bundle) -> None:
    other = replace(bundle, source_digest="6" * 64)
    write(other)
    assert read_bundle(bundle.path) == other


def test_a_file_in_the_bundles_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "some").write_text("no folder")
    write(bundle_at(tmp_path / "some"))
    assert read_bundle(tmp_path / "some") == bundle_at(tmp_path / "some")


def test_threads_that_write_the_same_bundle_all_succeed(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "some")
    start = threading.Barrier(8)

    def work(_: int) -> Bundle:
        start.wait()
        write(bundle)
        return read_bundle(bundle.path)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [bundle] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["some"]


def test_a_link_to_nowhere_gives_way_to_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.symlink_to(tmp_path / "nowhere")
    write(bundle_at(path))
    assert read_bundle(path) == bundle_at(path)
