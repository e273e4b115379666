"""The model inside the package: a standard Whisper, small enough to be shipped, with its papers."""

import sys
from pathlib import Path

import pytest

from scripts import embed_nano
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.hub.known import EMBEDDED_FILES, embedded_path
from tests.checkpoints import random_dims

NOTICE = embedded_path().parent / "NOTICE.md"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder as the training exports it: the embedded files, and others."""
    folder = tmp_path / "export"
    folder.mkdir()
    embed_nano.embed(embedded_path(), folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the script puts the model, instead of into the package that is tested."""
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(embed_nano, "PACKAGE", package)
    monkeypatch.setattr(embed_nano, "embedded_path", lambda: package / "nano")
    return package / "nano"


def run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["embed_nano.py", str(folder)])
    embed_nano.main()


def test_it_has_the_vocabulary_and_the_positions_of_whisper() -> None:
    dims = load_checkpoint(embedded_path()).dims
    standard = random_dims()
    for field in ("n_mels", "n_audio_ctx", "n_text_ctx", "n_vocab"):
        assert getattr(dims, field) == getattr(standard, field)


def test_it_names_heads_that_follow_the_audio() -> None:
    checkpoint = load_checkpoint(embedded_path())
    assert checkpoint.alignment_heads
    for layer, head in checkpoint.alignment_heads:
        assert 0 <= layer < checkpoint.dims.n_text_layer
        assert 0 <= head < checkpoint.dims.n_text_head


def test_its_card_tells_its_shape() -> None:
    dims = load_checkpoint(embedded_path()).dims
    card = (embedded_path() / "README.md").read_text(encoding="utf-8")
    heads = f"{dims.n_audio_head} encoder and {dims.n_text_head} decoder heads"
    layers = f"{dims.n_audio_layer} encoder and {dims.n_text_layer} decoder layers"
    assert f"{dims.n_audio_state} dimensions, {heads}, {layers}" in card


def test_the_licence_of_its_recordings_goes_with_it() -> None:
    notice = NOTICE.read_text(encoding="utf-8")
    for part in ("CC BY-SA 4.0", "Carnegie Mellon University.  All rights", "Redistributions in binary form", "CC0"):
        assert part in notice


def test_the_wheel_stays_small() -> None:
    assert embed_nano.compressed_bytes(embedded_path()) < embed_nano.LARGEST_WHEEL_BYTES


def test_embedding_copies_what_the_package_reads_and_nothing_else(
    export: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (export / "model.safetensors").chmod(0o600)
    run(monkeypatch, export)
    assert sorted(path.name for path in place.iterdir()) == sorted(EMBEDDED_FILES)
    assert load_checkpoint(place).dims == load_checkpoint(export).dims
    assert (place / "model.safetensors").stat().st_mode & 0o044 == 0o044  # else another user's installation fails


def test_a_model_too_large_for_the_wheel_is_not_embedded(
    export: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_nano, "LARGEST_WHEEL_BYTES", 1_000_000)
    with pytest.raises(SystemExit, match="and may have 1"):
        run(monkeypatch, export)
    assert not place.exists()


@pytest.mark.parametrize("lost", EMBEDDED_FILES)
def test_an_incomplete_export_is_not_embedded(
    lost: str, export: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (export / lost).unlink()
    with pytest.raises(SystemExit, match=f"lacks {lost}"):
        run(monkeypatch, export)
    assert not place.exists()


def test_a_damaged_export_is_not_embedded(export: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (export / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="could not read this model"):
        run(monkeypatch, export)
    assert not place.exists()
