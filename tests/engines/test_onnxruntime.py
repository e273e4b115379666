"""What only ONNX Runtime's engine does: it opens bundles, and equals the reference."""

from pathlib import Path

import numpy as np
import pytest

from stagewhisper.bundle import FILES, Bundle, read_bundle, writing_bundle
from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler import compiled
from stagewhisper.engines.onnxruntime import OnnxRuntimeEngine
from stagewhisper.engines.reference import ReferenceEngine
from stagewhisper.errors import BundleError
from tests.checkpoints import random_dims, save_openai
from tests.logits import CLOSE, our_logits, random_mel, random_tokens


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_mels": 128, "n_vocab": 51_866}, {"n_text_layer": 1, "n_audio_layer": 3}, {"n_vocab": 51_864}],
    ids=repr,
)
def test_onnxruntime_equals_the_reference(tmp_path: Path, changes: dict[str, int]) -> None:
    dims = random_dims(n_audio_ctx=40, **changes)
    checkpoint = load_checkpoint(save_openai(tmp_path / "random.pt", dims, seed=1))
    engines = OnnxRuntimeEngine(compiled(checkpoint, cache_dir=tmp_path)), ReferenceEngine(checkpoint)
    mel, tokens = random_mel(dims, 2), random_tokens(dims, 4, 9)
    found, expected = (our_logits(engine, mel, tokens, calls=(5, 1, 3)) for engine in engines)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_graphs_that_onnxruntime_refuses_are_a_bundles_fault(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path / "some", random_dims(), "fp32", source_digest="")
    with writing_bundle(bundle) as folder:
        for name in FILES:
            (folder / name).write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot load .*some.*Compile it again"):
        OnnxRuntimeEngine(read_bundle(bundle.path))
