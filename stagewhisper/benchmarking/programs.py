"""Who is measured: our engines and other programs, what each needs, and what each cannot do.

A program that is not installed, or that cannot take a point, is told with its reason and never left out in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

MODES = ("sequential", "batched")
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4")
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "int4": "int4"}
"""What our engines call these types."""


@dataclass(frozen=True)
class Program:
    """A program that can be measured."""

    module: str
    """Which file of this folder drives it."""
    needs: tuple[str, ...]
    """Packages, as they are imported."""
    install: str
    """What pip is told to install."""
    versions: tuple[str, ...]
    """Packages, as they are installed, whose versions belong to a result."""
    dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    form: str = "source"
    """Which form of a checkpoint it reads; see `forms.py`."""
    is_ours: bool = False


_HALVES = ("float32", "float16", "bfloat16")

PROGRAMS: Mapping[str, Program] = {
    "onnxruntime": Program(
        "drive_ours", ("onnxruntime",), ".", ("stagewhisper", "onnxruntime"),
        ("float32", "int8", "int4"), ("cpu",), form="bundle", is_ours=True,
    ),
    "pytorch": Program(
        "drive_ours", ("torch",), ".[torch]", ("stagewhisper", "torch"), _HALVES, ("cpu", "cuda", "mps"), is_ours=True
    ),
    "jax": Program(
        "drive_ours", ("jax",), ".[jax]", ("stagewhisper", "jax", "jaxlib"), _HALVES, ("cpu", "cuda", "tpu"),
        is_ours=True,
    ),
    "reference": Program(
        "drive_ours", ("numpy",), ".", ("stagewhisper", "numpy"), ("float32",), ("cpu",), is_ours=True
    ),
    "openai-whisper": Program(
        "drive_openai", ("whisper", "torch"), "openai-whisper", ("openai-whisper", "torch"), ("float32", "float16"),
        ("cpu", "cuda"), form="openai",
    ),
    "transformers": Program(
        "drive_transformers", ("transformers", "torch"), "transformers torch", ("transformers", "torch"), _HALVES,
        ("cpu", "cuda", "mps"), form="huggingface",
    ),
    "faster-whisper": Program(
        "drive_faster_whisper", ("faster_whisper", "ctranslate2", "transformers"), "faster-whisper transformers torch",
        ("faster-whisper", "ctranslate2"), ("float32", "float16", "bfloat16", "int8"), ("cpu", "cuda"),
        form="ctranslate2",
    ),
}  # fmt: skip
"""Programs by name, ours first."""

DEFAULT_ENGINES = tuple(name for name in PROGRAMS if name != "reference")
"""All but the one that defines what is correct, and is slow."""


def refusal(engine: str, *, device: str, dtype: str) -> str | None:
    """Why this program cannot take such a point on any machine, or not as things are installed; None if it may."""
    program = PROGRAMS[engine]
    missing = [name for name in program.needs if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed: pip install '{program.install}'"
    kind = device.partition(":")[0]
    if kind not in program.devices:
        return f"{engine} does not run on {kind}; it runs on {', '.join(program.devices)}"
    if dtype not in program.dtypes:
        return f"{engine} does not compute in {dtype}; it has {', '.join(program.dtypes)}"
    if engine == "openai-whisper" and kind == "cpu" and dtype == "float16":
        return "openai-whisper computes in float32 on a processor, and says so"
    return None
