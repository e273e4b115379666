"""optimum's graphs with their weights in int8, by ONNX Runtime's `quantize_dynamic`. Runs in the Python of "optimum".

    python quantise_weights.py SOURCE TARGET

optimum's setting also quantises what attention multiplies, keys and values of the whole window at every step among it.
"""

import shutil
import sys
from pathlib import Path

from convert_optimum import GRAPHS
from onnxruntime.quantization import quantize_dynamic


def main(source: Path, target: Path) -> None:
    target.mkdir()
    for name in GRAPHS:
        quantize_dynamic(source / name, target / name)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(source / name, target / name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
