"""A checkpoint is compiled once, whoever asks and however often; damage is mended; all its forms give one result."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagewhisper
import stagewhisper.compiler.compile
from stagewhisper.bundle import FILES, HELD, Bundle, read_bundle
from stagewhisper.checkpoint import Checkpoint, ModelDims, load_checkpoint
from stagewhisper.compiler import compile_checkpoint, compiled, default_cache_dir, load_recipe, read_report
from stagewhisper.compiler.compile import compiler_version, found_or_compiled
from stagewhisper.compiler.recipe import GRAPHS
from stagewhisper.engines.onnxruntime import OnnxRuntimeEngine
from stagewhisper.errors import BundleError, CheckpointError, CompilerError, OptionError, TokenizerError
from stagewhisper.file_lock import holding
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
    with pytest.raises(BundleError, match=r"cache.*Name another place for it"):
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


def test_processes_that_start_at_once_compile_once(path: Path, tmp_path: Path) -> None:
    program = f"""
        import logging, sys
        import stagewhisper
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        model = stagewhisper.load({str(path)!r}, cache_dir={str(tmp_path)!r})
        print(model.dims.n_vocab)
    """
    with ThreadPoolExecutor(3) as pool:
        printed = list(pool.map(run, [program] * 3))
    assert [lines[-1] for lines in printed] == ["51865"] * 3
    assert sum(line.startswith("Compiling") for lines in printed for line in lines) == 1
    (bundle,) = (tmp_path / "bundles").iterdir()
    assert read_bundle(bundle).dims == tiniest_dims()


def test_who_waits_for_another_process_says_so_and_takes_its_bundle(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = compiled(checkpoint, cache_dir=tmp_path / "other")
    path = tmp_path / "bundles" / made.path.name
    forbid_compiling(monkeypatch)

    waits = threading.Event()
    tell = stagewhisper.compiler.compile._tell_of_waiting

    def tell_us_too() -> None:
        tell()
        waits.set()

    monkeypatch.setattr(stagewhisper.compiler.compile, "_tell_of_waiting", tell_us_too)
    with caplog.at_level(logging.INFO, LOGGER), ThreadPoolExecutor(1) as pool:
        with holding(tmp_path / "locks" / made.path.name):
            waiting = pool.submit(compiled, checkpoint, cache_dir=tmp_path)
            assert waits.wait(60)
            shutil.copytree(made.path, path)
            assert not waiting.done()
        assert waiting.result(60) == replace(made, path=path)
    assert "Another process is compiling this model: waiting for it." in caplog.text


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
    killed, living = bundles / ".another-killed", bundles / ".another-living"
    for folder in (old, new, other, killed, living):
        folder.mkdir(parents=True)
        (folder / "encoder.onnx").write_text("half")
    two_days_ago = time.time() - 2 * 24 * 3600
    for folder in (killed, living):
        (folder / HELD).write_text("")
    for place in (old, other, living, living / HELD):
        os.utime(place, (two_days_ago, two_days_ago))
    os.utime(killed / HELD, (time.time() - 60, time.time() - 60))
    with holding(living / HELD):
        compiled(checkpoint, cache_dir=tmp_path)
    assert not old.exists()
    assert not killed.exists()
    assert living.exists()
    assert new.exists()
    assert other.exists()


def test_an_unknown_vocabulary_is_refused_before_any_work(tmp_path: Path) -> None:
    path = save_openai(tmp_path / "random.pt", tiniest_dims(n_vocab=600))
    with pytest.raises(TokenizerError, match="600"):
        compiled(load_checkpoint(path), cache_dir=tmp_path)
    assert not (tmp_path / "bundles").exists()


INT8_DIMS = {"n_audio_state": 128, "n_text_state": 128, "n_audio_head": 2, "n_text_head": 2}


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Wide enough for blocks of 128 and heads of 64."""
    path = tmp_path_factory.mktemp("wider") / "random.pt"
    return load_checkpoint(save_openai(path, tiniest_dims(**INT8_DIMS), seed=7))


def test_recipes_have_bundles_of_their_own(wider: Checkpoint, tmp_path: Path) -> None:
    recipes = [load_recipe(name) for name in ("exact", "int8", "small", "gpu-fp16")]
    bundles = [compiled(wider, recipe=recipe, cache_dir=tmp_path) for recipe in recipes]
    assert len({bundle.path for bundle in bundles}) == len(bundles)
    assert [bundle.precision for bundle in bundles] == ["fp32", "int8", "int4", "fp16"]
    assert [bundle.target for bundle in bundles] == ["cpu", "cpu", "cpu", "gpu"]
    assert [bundle.recipe for bundle in bundles] == ["exact", "int8", "small", "gpu-fp16"]
    exact, int8, small, half = (sum(file.stat().st_size for file in bundle.path.iterdir()) for bundle in bundles)
    assert small < int8 < half < exact
    assert [compiled(wider, recipe=recipe, cache_dir=tmp_path) for recipe in recipes] == bundles


def test_a_bundle_is_compiled_again_where_its_numbers_were_compared_less(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    with caplog.at_level(logging.INFO, LOGGER):
        for check in ("off", "end", "off", "end"):
            bundle, was_there = found_or_compiled(checkpoint, check=check, cache_dir=tmp_path)
            found.append((read_report(bundle).check, was_there))
    assert found == [("off", False), ("end", False), ("end", True), ("end", True)]
    assert "was compared less than --check end asks for" in caplog.text
    with pytest.raises(OptionError, match="check is 'never'"):
        compiled(checkpoint, check="never", cache_dir=tmp_path)


def test_a_recipe_without_a_pass_has_a_bundle_of_its_own(checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole = compiled(checkpoint, cache_dir=tmp_path)
    left = compiled(checkpoint, disabled=["broadcast_tile"], cache_dir=tmp_path)
    assert left.path != whole.path
    assert left.recipe_digest != whole.recipe_digest
    decoder = read_report(left).graphs["decoder"]
    assert decoder.switched_off == ("broadcast_tile",)
    assert "broadcast_tile" not in [record.name for record in decoder.passes]
    np.testing.assert_allclose(logits_of(left), logits_of(whole), atol=CLOSE)  # two orders of the same sums


def test_a_bundle_is_compiled_anew_when_the_compiler_has_changed(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = compiled(checkpoint, cache_dir=tmp_path)
    monkeypatch.setattr("stagewhisper.compiler.compile.compiler_version", lambda: "another")
    with caplog.at_level(logging.INFO, LOGGER):
        after = compiled(checkpoint, cache_dir=tmp_path)
    assert "The compiler has changed" in caplog.text
    assert after == replace(before, compiler="another")
    assert [folder.name for folder in before.path.parent.iterdir()] == [before.path.name]


def test_the_compilers_version_follows_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(stagewhisper.compiler.compile.__file__).parent
    copy = tmp_path / "compiler"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("stagewhisper.compiler.compile.__file__", str(copy / "compile.py"))
    version = compiler_version.__wrapped__  # without its cache
    before = version()
    assert before.startswith(f"{stagewhisper.__version__} ")
    assert version() == before
    with (copy / "passes" / "fuse_gelu.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert version() != before


def test_the_report_in_a_bundle_tells_what_each_pass_did(checkpoint: Checkpoint, tmp_path: Path) -> None:
    made = compile_checkpoint(checkpoint, tmp_path / "bundle", source="5", check="end")
    assert read_bundle(tmp_path / "bundle") == made.bundle
    assert read_report(made.bundle) == made
    assert made.check == "end"
    assert made.seconds > 0
    exact = load_recipe("exact")
    assert made.recipe == exact.to_dict()
    for name in GRAPHS:
        assert [record.name for record in made.graphs[name].passes] == [step.name for step in exact.steps_for(name)]
        difference = made.graphs[name].difference
        assert difference is not None
        assert difference < 1e-4  # float32 sums in another order, of all passes together
    assert sum(record.rewrites for record in made.graphs["decoder"].passes) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"], "what was compared is gone"


def test_numbers_are_compared_when_asked_for(checkpoint: Checkpoint, tmp_path: Path) -> None:
    each = compile_checkpoint(checkpoint, tmp_path / "each", source="5", check="each").graphs["decoder"]
    off = compile_checkpoint(checkpoint, tmp_path / "off", source="5", check="off").graphs["decoder"]
    changed = [record for record in each.passes if record.rewrites]
    assert changed
    assert all(record.difference is not None for record in changed)
    assert all(record.difference is None for record in off.passes)
    with pytest.raises(OptionError, match=r"check is 'never'\. Known: each, end, off"):
        compile_checkpoint(checkpoint, tmp_path / "never", source="5", check="never")


def test_a_pass_that_breaks_the_numbers_stops_the_compilation_and_leaves_nothing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry_points(*, group: str) -> list[EntryPoint]:
        name = "scale_logits"
        return [EntryPoint(name, f"tests.compiler.sample_passes:{name}", group)] if group.endswith(".passes") else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    (tmp_path / "broken.yaml").write_text(
        "precision: fp32\npasses: [{include: exact}, {pass: scale_logits, graphs: decoder}]"
    )
    recipe = load_recipe(tmp_path / "broken.yaml")
    with pytest.raises(CompilerError, match=r"The pass 'scale_logits': it changed the numbers"):
        compile_checkpoint(checkpoint, tmp_path / "bundles" / "broken", source="5", recipe=recipe)
    assert list((tmp_path / "bundles").iterdir()) == []


@pytest.mark.parametrize("name", ["int8", "small", "gpu-fp16"])
def test_shipped_recipes_keep_the_numbers_as_they_say(wider: Checkpoint, tmp_path: Path, name: str) -> None:
    made = compile_checkpoint(wider, tmp_path / "bundle", source="5", recipe=load_recipe(name), check="end")
    for report in made.graphs.values():
        assert report.difference is not None
        assert report.allowed is not None
        assert 0 < report.difference <= report.allowed <= 0.3


def test_a_recipe_that_cannot_be_carried_out_leaves_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("precision: fp32\npasses: [nothing]")
    with pytest.raises(OptionError, match=r"wrong\.yaml: passes\[0\]: No pass named 'nothing'"):
        compiled(checkpoint, recipe=load_recipe(tmp_path / "wrong.yaml"), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache" / "bundles").iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"graphs": {"encoder": {}}}'])
def test_a_damaged_report_is_named(checkpoint: Checkpoint, tmp_path: Path, text: str) -> None:
    made = compile_checkpoint(checkpoint, tmp_path / "bundle", source="5", check="off")
    made.bundle.report.write_text(text)
    with pytest.raises(BundleError, match=r"report of the bundle .* is damaged"):
        read_report(made.bundle)


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
