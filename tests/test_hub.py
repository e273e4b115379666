"""Names become verified folders; the hub is a fake one on this machine, and no test reaches another."""

import errno
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from stagewhisper.errors import HubError
from stagewhisper.hub import CachedModel, cached_models, download, find_model, known_models, verification
from stagewhisper.hub.known import EMBEDDED, EMBEDDED_FILES, embedded_path
from tests.fake_hub import FakeHub

SMALL = {
    "config.json": b'{"model_type": "whisper"}',
    "generation_config.json": b"{}",
    "preprocessor_config.json": b'{"feature_size": 80}',
    "tokenizer.json": b'{"model": {}}',
}
UNREAD = {
    "README.md": b"#",
    "pytorch_model.bin": b"pickle",
    "flax_model.msgpack": b"flax",
    "model.fp32-00001-of-00002.safetensors": b"duplicate",
    "onnx/model.onnx": b"onnx",
}
WEIGHTS = bytes(range(256)) * 40
PLAIN = {**SMALL, **UNREAD, "model.safetensors": WEIGHTS}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode()
SHARDED = {**SMALL, **UNREAD, "model.safetensors.index.json": INDEX, SHARDS[0]: b"first" * 99, SHARDS[1]: b"second"}
TINY = next(model for model in known_models() if model.name == "tiny")


@pytest.fixture(autouse=True)
def _quick_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verification, "_stamp_folder", lambda: tmp_path / "stamps")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 2)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 2)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # huggingface_hub pauses between retries


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def find(hub: FakeHub, tmp_path: Path) -> Any:
    def find(name: str, **options: Any) -> Path:
        options = {"cache_dir": tmp_path / "cache", "endpoint": hub.endpoint, "progress": False} | options
        return find_model(name, **options)

    return find


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(path: Path, content: bytes) -> None:
    """Change a file behind the cache's back, as a failing disk does."""
    path.resolve().write_bytes(content)


def as_fetched_by_others(hub: FakeHub, tmp_path: Path, repository: str, *names: str) -> None:
    huggingface_hub.snapshot_download(
        repository, cache_dir=tmp_path / "cache", endpoint=hub.endpoint, allow_patterns=list(names)
    )
    hub.requests.clear()


# What is fetched


def test_only_the_files_that_are_read_are_fetched(hub: FakeHub, find: Any) -> None:
    commit = hub.add("owner/name", PLAIN)
    folder = find("owner/name")
    assert folder.name == commit
    assert content_of(folder) == {**SMALL, "model.safetensors": WEIGHTS}
    assert sorted(hub.downloads()) == sorted([*SMALL, "model.safetensors"])


def test_a_model_in_parts_comes_with_the_parts_that_its_index_names(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", SHARDED)
    assert set(content_of(find("owner/name"))) == {*SMALL, "model.safetensors.index.json", *SHARDS}


def test_whole_weights_win_over_parts(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", SHARDED | PLAIN)
    assert set(content_of(find("owner/name"))) == {*SMALL, "model.safetensors"}


def test_a_repository_without_safetensors_is_refused_and_says_so(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", {**SMALL, "pytorch_model.bin": b"pickle"})
    with pytest.raises(HubError, match=r"no safetensors weights, only pytorch_model\.bin"):
        find("owner/name")
    assert hub.downloads() == []


def test_a_repository_without_configuration_is_refused(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", {"model.safetensors": WEIGHTS})
    with pytest.raises(HubError, match=r"no config\.json"):
        find("owner/name")


@pytest.mark.parametrize("name", ["tiny", "openai/whisper-tiny", f"tiny@{TINY.revision}"])
def test_a_known_name_means_its_pinned_commit(hub: FakeHub, find: Any, name: str) -> None:
    hub.add("openai/whisper-tiny", PLAIN, commit=str(TINY.revision), branch="pinned")
    hub.add("openai/whisper-tiny", {**PLAIN, "model.safetensors": b"newer"})
    assert find(name).name == TINY.revision


@pytest.mark.parametrize("revision", ["dev", "refs/pr/1"])
def test_a_revision_is_taken_from_the_name_or_the_option(hub: FakeHub, find: Any, revision: str) -> None:
    hub.add("owner/name", PLAIN)
    commit = hub.add("owner/name", {**PLAIN, "model.safetensors": b"other"}, branch=revision)
    assert find(f"owner/name@{revision}").name == commit
    assert find("owner/name", revision=revision).name == commit
    with pytest.raises(HubError, match="one revision and the option another"):
        find(f"owner/name@{revision}", revision="main")


# What is asked of the hub


@pytest.mark.parametrize("name", ["tiny", "owner/name", "owner/name@dev"])
@pytest.mark.parametrize("files", [PLAIN, SHARDED, {"config.json": b"{}", "model.safetensors": WEIGHTS}])
def test_what_is_here_is_used_without_any_request(hub: FakeHub, find: Any, name: str, files: dict[str, bytes]) -> None:
    hub.add("openai/whisper-tiny", files, commit=str(TINY.revision))
    hub.add("owner/name", files, branch="dev" if "@" in name else "main")
    folder = find(name)
    assert hub.requests
    hub.requests.clear()
    assert find(name) == folder
    assert find(name, offline=True) == folder
    assert hub.requests == []


def test_a_branch_keeps_the_meaning_that_it_had_when_fetched(hub: FakeHub, find: Any) -> None:
    commit = hub.add("owner/name", PLAIN)
    find("owner/name")
    newer = hub.add("owner/name", {**PLAIN, "model.safetensors": b"newer"})
    assert find("owner/name").name == commit
    assert find("owner/name", revision=newer).name == newer


def test_what_other_programs_fetched_is_used_without_any_request(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    commit = hub.add("owner/name", PLAIN)
    as_fetched_by_others(hub, tmp_path, "owner/name", *SMALL, "model.safetensors")
    assert find("owner/name").name == commit
    assert hub.requests == []


def test_a_copy_without_vocabulary_is_completed_once(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    hub.add("owner/name", PLAIN)
    as_fetched_by_others(hub, tmp_path, "owner/name", "config.json", "model.safetensors")
    assert (find("owner/name") / "tokenizer.json").is_file()
    assert "model.safetensors" not in hub.downloads()


def test_a_copy_without_vocabulary_is_good_enough_when_the_hub_is_down(
    hub: FakeHub, find: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.add("owner/name", PLAIN)
    as_fetched_by_others(hub, tmp_path, "owner/name", "config.json", "model.safetensors")
    hub.refusal = (503, "")
    assert find("owner/name").name == commit
    assert "Using the copy in" in caplog.text


def test_threads_that_want_the_same_model_all_get_it(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", SHARDED)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(find, ["owner/name"] * 4))
    assert len(set(folders)) == 1
    assert (folders[0] / SHARDS[1]).read_bytes() == b"second"


# Damage


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("content", [b"", WEIGHTS[:99], WEIGHTS[::-1]])
def test_a_damaged_file_is_fetched_again(hub: FakeHub, find: Any, name: str, content: bytes) -> None:
    hub.add("owner/name", PLAIN)
    folder = find("owner/name")
    damage(folder / name, content)
    hub.requests.clear()
    assert find("owner/name") == folder
    assert content_of(folder)[name] == PLAIN[name]
    assert hub.downloads() == [name]


def test_a_damaged_file_is_mended_at_its_own_commit_though_the_branch_moved(hub: FakeHub, find: Any) -> None:
    commit = hub.add("owner/name", PLAIN)
    damage(find("owner/name") / "model.safetensors", b"short")
    hub.add("owner/name", {**PLAIN, "model.safetensors": b"newer"})
    assert (find("owner/name") / "model.safetensors").read_bytes() == WEIGHTS
    assert find("owner/name").name == commit


def test_a_damaged_file_is_an_error_that_names_it_when_offline(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", PLAIN)
    damage(find("owner/name") / "model.safetensors", b"short")
    with pytest.raises(HubError, match=r"model\.safetensors is damaged.*stagewhisper models path owner/name"):
        find("owner/name", offline=True)


def test_damage_that_other_programs_left_is_found(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    commit = hub.add("owner/name", PLAIN)
    as_fetched_by_others(hub, tmp_path, "owner/name", *SMALL, "model.safetensors")
    damage(tmp_path / f"cache/models--owner--name/snapshots/{commit}/model.safetensors", WEIGHTS[::-1])
    with pytest.raises(HubError, match=r"model\.safetensors is damaged"):
        find("owner/name", offline=True)
    assert (find("owner/name") / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("lost", [*SHARDS, "model.safetensors.index.json", "config.json"])
@pytest.mark.parametrize("how", ["deleted", "dangling"])
def test_a_lost_file_is_fetched_again(hub: FakeHub, find: Any, lost: str, how: str) -> None:
    hub.add("owner/name", SHARDED)
    path = find("owner/name") / lost
    path.resolve().unlink()
    if how == "deleted":
        path.unlink()
    with pytest.raises(HubError, match="is missing"):
        find("owner/name", offline=True)
    assert (find("owner/name") / lost).read_bytes() == SHARDED[lost]


def test_a_half_written_index_is_fetched_again(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", SHARDED)
    damage(find("owner/name") / "model.safetensors.index.json", INDEX[:20])
    assert (find("owner/name") / "model.safetensors.index.json").read_bytes() == INDEX


def test_a_file_that_arrives_damaged_once_is_fetched_once_more(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", PLAIN)
    hub.corrupt = {"model.safetensors": 1}
    assert (find("owner/name") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.downloads().count("model.safetensors") == 2


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_arrives_damaged_twice_is_an_error_and_not_kept(
    hub: FakeHub, find: Any, tmp_path: Path, name: str
) -> None:
    hub.add("owner/name", PLAIN)
    hub.corrupt = {name: 9}
    with pytest.raises(HubError, match="arrived damaged twice"):
        find("owner/name")
    assert hub.downloads().count(name) == 2
    assert list((tmp_path / "cache").rglob(name)) == []


def test_after_a_failed_download_only_the_rest_is_fetched(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", SHARDED)
    hub.corrupt = {SHARDS[1]: 2}
    with pytest.raises(HubError, match=SHARDS[1]):
        find("owner/name")
    hub.requests.clear()
    find("owner/name")
    assert hub.downloads() == [SHARDS[1]]


def test_a_transfer_that_breaks_off_is_resumed_where_it_stopped(hub: FakeHub, find: Any) -> None:
    hub.add("owner/name", PLAIN)
    hub.cuts = {"model.safetensors": 4096}
    assert (find("owner/name") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges == ["bytes=4096-"]


def test_files_are_read_for_verification_only_once(hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", PLAIN)
    find("owner/name")
    monkeypatch.setattr(verification, "_digest_of", lambda *_: pytest.fail("a file was read again"))
    find("owner/name")


def test_a_stamp_that_cannot_be_written_or_read_costs_only_time(
    hub: FakeHub, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(verification, "_stamp_folder", lambda: tmp_path / "file" / "stamps")
    hub.add("owner/name", PLAIN)
    folder = find("owner/name")
    assert find("owner/name") == folder
    damage(folder / "model.safetensors", b"short")
    assert (find("owner/name") / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("stamp", [b"", b"[]", b"\xff", b'{"complete": true, "files": {"model.safetensors": 1}}'])
def test_a_damaged_stamp_is_ignored(hub: FakeHub, find: Any, tmp_path: Path, stamp: bytes) -> None:
    hub.add("owner/name", PLAIN)
    folder = find("owner/name")
    (path,) = (tmp_path / "stamps").iterdir()
    path.write_bytes(stamp)
    assert find("owner/name") == folder


# Failures


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((401, ""), "refused the access token"),
        ((401, "RepoNotFound"), "no such repository, or it is private"),
        ((401, "GatedRepo"), "Accept the terms"),
        ((403, ""), "access is forbidden"),
        ((404, "RepoNotFound"), "no such repository"),
        ((404, "RevisionNotFound"), "no revision 'main'"),
        ((404, ""), "does not know this address"),
        ((429, ""), "Wait some minutes"),
        ((500, ""), "in trouble"),
    ],
)
def test_a_refusal_is_an_error_with_cause_and_remedy(
    hub: FakeHub, find: Any, refusal: tuple[int, str], message: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(HubError, match=message) as caught:
        find("owner/name")
    assert "'owner/name'" in str(caught.value)
    assert hub.endpoint in str(caught.value)


def test_a_failure_between_two_files_is_a_hub_error(hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", PLAIN)
    listed = download._list_files

    def list_then_fail(*arguments: Any) -> Any:
        listing = listed(*arguments)
        hub.refusal = (500, "")
        return listing

    monkeypatch.setattr(download, "_list_files", list_then_fail)
    with pytest.raises(HubError, match="in trouble"):
        find("owner/name")


def test_a_hub_that_never_answers_is_given_up(hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    hub.silent = True
    with pytest.raises(HubError, match="cannot be reached"):
        find("owner/name")


def test_no_network_is_a_hub_error(find: Any) -> None:
    with pytest.raises(HubError, match="cannot be reached"):
        find("owner/name", endpoint="http://127.0.0.1:9")


def test_a_page_that_is_no_hub_is_a_hub_error(hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.refusal = (200, "")  # an answer without an id, as a provider's login page is
    with pytest.raises(HubError, match="owner/name"):
        find("owner/name")


def test_a_disk_too_small_is_told_before_the_download(hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", PLAIN)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(HubError, match="needs 0 MB more, but the disk"):
        find("owner/name")
    assert hub.downloads() == []


@pytest.mark.parametrize(("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written")])
def test_a_disk_that_refuses_is_a_hub_error(
    hub: FakeHub, find: Any, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    hub.add("owner/name", PLAIN)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(HubError, match=message):
        find("owner/name")


# Offline


def test_offline_an_absent_model_is_an_error_that_tells_every_way_out(hub: FakeHub, find: Any) -> None:
    with pytest.raises(HubError) as caught:
        find("tiny", offline=True)
    for part in ("'tiny'", "offline", "stagewhisper models path tiny", "--model FOLDER", f"--model {EMBEDDED}"):
        assert part in str(caught.value)
    assert hub.requests == []


def test_offline_a_known_models_main_stands_in_with_a_warning(
    hub: FakeHub, find: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.add("openai/whisper-tiny", PLAIN)
    as_fetched_by_others(hub, tmp_path, "openai/whisper-tiny", *SMALL, "model.safetensors")
    assert find("tiny", offline=True).name == commit
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(HubError, match="is not on this machine"):
        find("tiny", offline=True, revision=TINY.revision)


OFFLINE_PROGRAM = """
import socket, sys
def refuse(*arguments, **options):
    raise SystemExit("a request was made")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from stagewhisper.errors import HubError
from stagewhisper.hub import find_model
print(find_model("owner/name", cache_dir=sys.argv[1]).name)
try:
    find_model("tiny", cache_dir=sys.argv[1])
except HubError as error:
    print("offline" in str(error))
"""


def test_hugging_faces_offline_variable_forbids_every_connection(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    commit = hub.add("owner/name", PLAIN)
    as_fetched_by_others(hub, tmp_path, "owner/name", "config.json", "model.safetensors")
    variables = {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", OFFLINE_PROGRAM, str(tmp_path / "cache")]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, env=variables, cwd=root, capture_output=True, text=True, check=False)
    assert (run.stdout.split(), run.returncode) == ([commit, "True"], 0), run.stderr


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("", "../../etc", "a/b/c", "a\nb/c", "a\0b", "owner/na me", "owner/..", "-o/n", "owner/name.git"),
        *("o/n@", "o/n@../x", "o/n@a b", "/nowhere", "./nowhere", "nowhere.pt", "C:\\models"),
        *("x" * 5000, "o/" + "n" * 5000),
    ],
)
def test_what_is_no_name_is_refused_without_a_request(hub: FakeHub, find: Any, name: str) -> None:
    with pytest.raises(HubError):
        find(name)
    assert hub.requests == []


@pytest.mark.parametrize(("typed", "meant"), [("tny", "tiny"), ("large-v4", "large-v3"), ("Turbo", "turbo")])
def test_an_unknown_short_name_is_answered_with_the_nearest_and_all_others(find: Any, typed: str, meant: str) -> None:
    with pytest.raises(HubError, match=f"Did you mean '{meant}'") as caught:
        find(typed)
    assert all(model.name in str(caught.value) for model in known_models())


def test_known_names_are_unique_and_pinned() -> None:
    names = [model.name for model in known_models()]
    assert len(set(names)) == len(names)
    assert {"large", "turbo", "tiny.en", "distil-large-v3.5", EMBEDDED} <= set(names)
    assert all(len(model.revision) == 40 for model in known_models() if model.revision is not None)


@pytest.mark.parametrize("endpoint", ["http://example.org", "ftp://127.0.0.1", "file:///etc", "", "http://[", "x"])
def test_an_endpoint_that_others_could_listen_to_is_refused(find: Any, endpoint: str) -> None:
    with pytest.raises(HubError, match="not safe"):
        find("owner/name", endpoint=endpoint)


@pytest.mark.parametrize("shard", ["../../../escape.safetensors", "/tmp/escape.safetensors", "a/b.safetensors", 7])
def test_an_index_that_names_files_elsewhere_is_refused(hub: FakeHub, find: Any, tmp_path: Path, shard: object) -> None:
    index = json.dumps({"weight_map": {"a": shard}}).encode()
    hub.add("owner/name", {**SHARDED, "model.safetensors.index.json": index, str(shard): b"evil"})
    with pytest.raises(HubError, match="names files elsewhere"):
        find("owner/name")
    assert list(tmp_path.rglob("*escape*")) == []


def test_a_repository_that_lists_a_file_outside_itself_cannot_place_it(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    hub.add("owner/name", {**PLAIN, "../../../../config.json": b"evil", "../../refs/main": b"evil"})
    find("owner/name")
    assert not (tmp_path / "config.json").exists()
    assert b"evil" not in [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]


# Folders and files of the user's own


def test_a_complete_folder_is_returned_as_it_is(tmp_path: Path) -> None:
    for name, content in PLAIN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert find_model(tmp_path) == tmp_path
    assert find_model(str(tmp_path)) == tmp_path


def test_a_folder_that_lacks_a_part_is_refused_by_the_parts_name(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors.index.json", SHARDS[0]):
        (tmp_path / name).write_bytes(SHARDED[name])
    with pytest.raises(HubError, match=SHARDS[1]):
        find_model(tmp_path)


def test_a_pt_file_is_returned_and_another_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"")
    (tmp_path / "song.mp3").write_bytes(b"")
    assert find_model(str(tmp_path / "model.pt")) == tmp_path / "model.pt"
    with pytest.raises(HubError, match=r"expected a folder or a \.pt file"):
        find_model(tmp_path / "song.mp3")
    with pytest.raises(HubError, match="no revision"):
        find_model(tmp_path / "model.pt", revision="main")


def test_the_embedded_model_needs_neither_network_nor_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(EMBEDDED, offline=True, cache_dir=tmp_path / "none") == embedded_path()
    with pytest.raises(HubError, match="has no revision"):
        find_model(f"{EMBEDDED}@main")


@pytest.mark.parametrize("lost", EMBEDDED_FILES)
def test_an_embedded_model_that_lacks_a_file_is_told_and_listed_as_absent(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(EMBEDDED_FILES) - {lost}:
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr("stagewhisper.hub.known.embedded_path", lambda: tmp_path)
    with pytest.raises(HubError, match="Install the package again"):
        find_model(EMBEDDED, offline=True)
    assert cached_models(tmp_path / "none")[0] == CachedModel(EMBEDDED, None, None, 0)


def test_the_embedded_model_is_listed_with_its_folder_and_its_size() -> None:
    row = cached_models()[0]
    assert (row.name, row.repository, row.path) == (EMBEDDED, None, embedded_path())
    assert row.bytes_on_disk == sum((embedded_path() / name).stat().st_size for name in EMBEDDED_FILES)


# The list of what is here


def test_the_list_tells_what_is_complete_and_what_it_takes(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    hub.add("openai/whisper-tiny", PLAIN, commit=str(TINY.revision))
    hub.add("owner/whisper", PLAIN)
    hub.add("owner/bert", {**PLAIN, "config.json": b'{"model_type": "bert"}'})
    folders = {"tiny": find("tiny"), "owner/whisper": find("owner/whisper")}
    find("owner/bert")
    rows = {row.name: row for row in cached_models(tmp_path / "cache")}
    assert {name: row.path for name, row in rows.items() if row.path and name != EMBEDDED} == folders
    assert rows["tiny"].bytes_on_disk == sum(len(c) for c in {*SMALL.values(), WEIGHTS})
    assert rows["base"].bytes_on_disk == 0
    assert "large" not in rows
    assert rows["large-v3"].repository == "openai/whisper-large-v3"


def test_the_list_shows_a_partial_download_as_absent_with_its_size(hub: FakeHub, find: Any, tmp_path: Path) -> None:
    hub.add("openai/whisper-tiny", SHARDED, commit=str(TINY.revision))
    (find("tiny") / SHARDS[1]).resolve().unlink()
    row = next(row for row in cached_models(tmp_path / "cache") if row.name == "tiny")
    assert row.path is None
    assert row.bytes_on_disk > 0


def test_the_list_of_an_absent_cache_is_the_known_models(tmp_path: Path) -> None:
    rows = cached_models(tmp_path / "absent")
    assert [row.path for row in rows if row.name != EMBEDDED] == [None] * 17


# Cost


def test_importing_the_module_loads_no_network_library() -> None:
    program = "import sys, stagewhisper.hub; print(*{m.split('.')[0] for m in sys.modules})"
    root = Path(__file__).parents[1]
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True, cwd=root).split()
    assert {"huggingface_hub", "httpx", "httpx2", "tqdm", "ssl", "platformdirs"}.isdisjoint(loaded)


def test_the_progress_bar_can_be_silenced() -> None:
    assert download._silent_bar()(total=1).disable


@pytest.mark.parametrize("name", ["tiny.pt", "pytorch_model.bin"])
def test_a_folder_with_a_torch_file_is_left_to_the_checkpoint_reader(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    assert find_model(str(tmp_path)) == tmp_path
