"""Teacher-forced logits of our engines against openai-whisper's, on random weights of true shapes.

Why: an engine is correct when its logits equal the reference implementation's; everything above is shared code.
How: for three seeds, a checkpoint of openai/whisper's own class is filled with random weights (scaled as trained
ones are, so that logits spread over several units) and saved as a `.pt`. Both sides encode the same random mel and
read the same 24 random tokens, ours in three calls of different lengths, so that the cache is at work. The figure
is the largest absolute difference over all logits; 1e-3 is allowed.

    python benchmarks/logits.py [--seeds 0 1 2]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import whisper
from report import store
from whisper.model import ModelDimensions, Whisper

from stagewhisper.model import load

SHAPES = {
    "tiny": ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4),
    "base": ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6),
    "large-v3-like": ModelDimensions(128, 1500, 1280, 20, 2, 51866, 448, 1280, 20, 2),
}
ENGINES = ("reference", "onnxruntime", "pytorch", "jax")
ALLOWED = 1e-3


def random_whisper(dims: ModelDimensions, seed: int) -> Whisper:
    """openai/whisper's model with random weights; matrices keep the size of their input, as trained ones do."""
    torch.manual_seed(seed)
    model = Whisper(dims).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.copy_(
                    0.1 * torch.randn(parameter.shape) + (1.0 if "ln" in name and "weight" in name else 0.0)
                )
            else:
                parameter.copy_(torch.randn(parameter.shape) / np.sqrt(parameter[0].numel()))
    return model


def difference(model: Whisper, path: Path, engine_name: str, *, cache_dir: Path, seed: int) -> float:
    """The largest absolute difference of the logits of one engine."""
    rng = np.random.default_rng(seed)
    dims = model.dims
    mel = (0.5 * rng.standard_normal((2, dims.n_mels, 3000))).astype(np.float32)
    tokens = rng.integers(0, dims.n_vocab, (2, 24))
    with torch.no_grad():
        expected = model(torch.from_numpy(mel), torch.from_numpy(tokens)).numpy()
    engine = load(path, engine=engine_name, cache_dir=cache_dir).engine
    cache = engine.start(engine.encode(mel))
    worst = 0.0
    for first, last in ((0, 7), (7, 8), (8, 24)):
        output = engine.decode_step(tokens[:, first:last], cache, logit_positions=range(last - first))
        cache = output.cache
        worst = max(worst, float(np.abs(output.logits - expected[:, first:last]).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    figures: dict[str, dict[str, list[float]]] = {}
    print(f"{'shape':<14} {'engine':<12} largest difference, seeds {seeds}")
    with tempfile.TemporaryDirectory() as folder:
        for shape, dims in SHAPES.items():
            figures[shape] = {name: [] for name in ENGINES}
            for seed in seeds:
                model = random_whisper(dims, seed)
                path = Path(folder) / "random.pt"
                torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
                for name in ENGINES:
                    figures[shape][name].append(difference(model, path, name, cache_dir=Path(folder), seed=seed))
            for name in ENGINES:
                print(f"{shape:<14} {name:<12} {'  '.join(f'{value:.1e}' for value in figures[shape][name])}")
    worst = max(value for by_engine in figures.values() for values in by_engine.values() for value in values)
    print(f"worst {worst:.1e}, allowed {ALLOWED:.0e}: {'equal' if worst <= ALLOWED else 'DIFFERENT'}")
    store(
        "logits", {"largest_difference": figures, "allowed": ALLOWED, "oracle": f"openai-whisper {whisper.__version__}"}
    )
    raise SystemExit(0 if worst <= ALLOWED else 1)


if __name__ == "__main__":
    main()
