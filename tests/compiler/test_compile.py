"""A checkpoint is compiled once, whoever asks and however often; damage is mended; all its forms give one result."""

import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagewhisper
import stagewhisper.compiler.compile
from stagewhisper.bundle import FILES, Bundle, read_bundle
from stagewhisper.checkpoint import Checkpoint, ModelDims, load_checkpoint
from stagewhisper.compiler import compiled, default_cache_dir
from stagewhisper.engines.onnxruntime import OnnxRuntimeEngine
from stagewhisper.errors import BundleError, CheckpointError, TokenizerError
from tests.checkpoints import random_dims, save_huggingface, save_openai
from tests.logits import CLOSE, load_oracle, our_logits, random_mel, random_tokens, their_logits

LOGGER = "stagewhisper.compiler.compile"


def tiniest_dims(**changes: int) -> ModelDims:
    """Hardly more than the vocabulary, so that compiling takes a moment."""
    small = {"n_audio_state": 8, "n_text_state": 8, "n_audio_layer": 1, "n_text_layer": 1}
    return random_dims(**(small | changes))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai(tmp_path_factory.mktemp("compile") / "random.pt", tiniest_dims(), seed=7)


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Checkpoint:
    return load_checkpoint(path)


def logits_of(bundle: Bundle) -> np.ndarray:
    dims = bundle.dims
    return our_logits(OnnxRuntimeEngine(bundle), random_mel(dims), random_tokens(dims, 1, 4))


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_checkpoint(*arguments: Any, **options: Any) -> Bundle:
        raise AssertionError("compiled again")

    monkeypatch.setattr(stagewhisper.compiler.compile, "compile_checkpoint", compile_checkpoint)


def test_the_first_use_compiles_and_tells(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        bundle = compiled(checkpoint, cache_dir=tmp_path)
    assert "Compiling random.pt for ONNX Runtime (once; kept in" in caplog.text
    assert "Compiled in" in caplog.text
    assert read_bundle(bundle.path) == bundle
    assert bundle.dims == checkpoint.dims
    assert bundle.path.is_relative_to(tmp_path)


def test_later_uses_compile_nothing_and_tell_nothing(
    checkpoint: Checkpoint, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = compiled(checkpoint, cache_dir=cache_dir)
    forbid_compiling(monkeypatch)
    with caplog.at_level(logging.INFO, LOGGER):
        caplog.clear()
        assert compiled(checkpoint, cache_dir=cache_dir) == first
    assert caplog.text == ""


def test_a_later_start_neither_imports_the_compiler_nor_reads_the_checkpoint_again(
    checkpoint: Checkpoint, path: Path, cache_dir: Path
) -> None:
    compiled(checkpoint, cache_dir=cache_dir)
    program = f"""
        import hashlib, sys
        import stagewhisper
        def file_digest(*arguments): raise AssertionError("read again")
        hashlib.file_digest = file_digest
        stagewhisper.load({str(path)!r}, cache_dir={str(cache_dir)!r})
        print([name for name in ("onnx_ir", "onnx", "torch", "stagewhisper.compiler.export") if name in sys.modules])
    """
    assert run(program) == ["[]"]


def run(program: str) -> list[str]:
    """The lines that a program prints in a process of its own."""
    lines = "\n".join(line.strip() for line in program.strip().splitlines())
    finished = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("encoder.weights", flip_bit),
        ("decoder.weights", cut),
        ("decoder.onnx", flip_bit),
        ("encoder.onnx", Path.unlink),
        ("tokenizer.json", cut),
        ("manifest.json", cut),
        ("manifest.json", Path.unlink),
    ],
)
def test_a_damaged_bundle_heals_itself_and_tells(
    checkpoint: Checkpoint, tmp_path: Path, name: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = compiled(checkpoint, cache_dir=tmp_path)
    expected = logits_of(bundle)
    damage(bundle.path / name)
    with pytest.raises(BundleError, match=name.split(".", maxsplit=1)[0]):
        read_bundle(bundle.path)
    healed = compiled(checkpoint, cache_dir=tmp_path)
    assert healed == bundle
    assert "is compiled again now" in caplog.text
    np.testing.assert_array_equal(logits_of(healed), expected)
    assert [folder.name for folder in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_an_outdated_bundle_is_compiled_anew(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundle = compiled(checkpoint, cache_dir=tmp_path)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    (bundle.path / "manifest.json").write_text(json.dumps(manifest | {"format_version": 0}))
    assert compiled(checkpoint, cache_dir=tmp_path) == bundle
    assert read_bundle(bundle.path) == bundle


def test_a_cache_folder_that_cannot_be_made_is_reported_with_a_remedy(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(BundleError, match=r"cache.*name another cache folder"):
        compiled(checkpoint, cache_dir=tmp_path / "cache")


def test_a_cache_that_was_filled_elsewhere_may_be_read_only(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compiled(checkpoint, cache_dir=tmp_path)
    for note in (tmp_path / "sources").iterdir():
        note.unlink()
    (bundle.path / "verified.json").unlink()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("stagewhisper.compiler.compile.writing_atomically", refuse)
    monkeypatch.setattr("stagewhisper.bundle.writing_atomically", refuse)
    forbid_compiling(monkeypatch)
    assert compiled(checkpoint, cache_dir=tmp_path) == bundle
    assert list((tmp_path / "sources").iterdir()) == []


def test_processes_that_start_at_once_share_one_bundle(path: Path, tmp_path: Path) -> None:
    program = f"""
        import stagewhisper
        model = stagewhisper.load({str(path)!r}, cache_dir={str(tmp_path)!r})
        print(model.dims.n_vocab)
    """
    with ThreadPoolExecutor(3) as pool:
        printed = list(pool.map(run, [program] * 3))
    assert printed == [["51865"]] * 3
    (bundle,) = (tmp_path / "bundles").iterdir()
    assert read_bundle(bundle).dims == tiniest_dims()


def test_threads_that_start_at_once_compile_once(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER), ThreadPoolExecutor(4) as pool:
        bundles = list(pool.map(lambda _: compiled(load_checkpoint(path), cache_dir=tmp_path), range(4)))
    assert bundles == [bundles[0]] * 4
    assert sum(record.message.startswith("Compiling") for record in caplog.records) == 1


def test_a_changed_checkpoint_gets_another_bundle(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    before = compiled(load_checkpoint(copy), cache_dir=tmp_path)
    content = bytearray(copy.read_bytes())
    place = content.index(load_checkpoint(copy).weight("encoder.conv1.bias").tobytes())
    content[place] ^= 1
    copy.write_bytes(content)
    after = compiled(load_checkpoint(copy), cache_dir=tmp_path)
    assert after.source_digest != before.source_digest
    assert after.path != before.path


def test_a_checkpoint_that_was_only_touched_keeps_its_bundle(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    bundle = compiled(load_checkpoint(copy), cache_dir=tmp_path)
    os.utime(copy, (1, 1))
    forbid_compiling(monkeypatch)
    assert compiled(load_checkpoint(copy), cache_dir=tmp_path) == bundle


@pytest.mark.parametrize("text", ["", "\0" * 64, "/" * 64, "f" * 63, "\xff"])
def test_a_broken_note_of_the_digest_is_harmless(checkpoint: Checkpoint, cache_dir: Path, text: str) -> None:
    bundle = compiled(checkpoint, cache_dir=cache_dir)
    for note in (cache_dir / "sources").iterdir():
        note.write_bytes(text.encode("latin-1"))
    assert compiled(checkpoint, cache_dir=cache_dir) == bundle


def test_a_checkpoint_that_vanishes_is_reported(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    checkpoint = load_checkpoint(copy)
    copy.unlink()
    with pytest.raises(CheckpointError, match=r"copy\.pt cannot be read any more"):
        compiled(checkpoint, cache_dir=tmp_path)


def test_only_old_leftovers_of_dead_processes_are_removed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    old, new, other = bundles / ".some-old", bundles / ".some-new", bundles / "old-bundle"
    for folder in (old, new, other):
        folder.mkdir(parents=True)
        (folder / "encoder.onnx").write_text("half")
    two_days_ago = time.time() - 2 * 24 * 3600
    for folder in (old, other):
        os.utime(folder, (two_days_ago, two_days_ago))
    compiled(checkpoint, cache_dir=tmp_path)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_an_unknown_vocabulary_is_refused_before_any_work(tmp_path: Path) -> None:
    path = save_openai(tmp_path / "random.pt", tiniest_dims(n_vocab=600))
    with pytest.raises(TokenizerError, match="600"):
        compiled(load_checkpoint(path), cache_dir=tmp_path)
    assert not (tmp_path / "bundles").exists()


def test_the_users_cache_folder_is_named_after_the_package() -> None:
    assert default_cache_dir().name == "stagewhisper"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_both_forms_of_a_checkpoint_equal_openai_whisper(tmp_path: Path, dtype: torch.dtype) -> None:
    dims = tiniest_dims(n_audio_state=32, n_text_state=32)
    pt = save_openai(tmp_path / "openai.pt", dims, seed=1, dtype=dtype)
    folder = save_huggingface(tmp_path / "huggingface", pt, dtype)
    mel, tokens = random_mel(dims, 2), random_tokens(dims, 2, 9)
    models = [stagewhisper.load(path, cache_dir=tmp_path) for path in (pt, folder)]
    openai, huggingface = (our_logits(model.engine, mel, tokens, calls=(4, 1, 4)) for model in models)
    np.testing.assert_array_equal(openai, huggingface)
    # openai/whisper reads the stored numbers, rounded as they are, into float32: so must we.
    np.testing.assert_allclose(openai, their_logits(load_oracle(pt), mel, tokens), atol=CLOSE)

    noise = np.random.default_rng(0).standard_normal(3 * 16_000).astype(np.float32) * np.float32(0.1)
    transcripts = [model.transcribe(noise, temperature=0.0, sample_len=8) for model in models]
    assert transcripts[0] == transcripts[1]
    assert transcripts[0].text


def test_the_files_of_a_bundle_are_those_that_are_verified(checkpoint: Checkpoint, cache_dir: Path) -> None:
    found = {file.name for file in compiled(checkpoint, cache_dir=cache_dir).path.iterdir()}
    assert found == {*FILES, "manifest.json", "verified.json"}
