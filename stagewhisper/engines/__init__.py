"""The model's arithmetic on several frameworks, behind one protocol."""

from collections.abc import Callable
from typing import Any

from stagewhisper.engines.base import AnyEngine, DecoderOutput, Engine
from stagewhisper.registry import Registry

ENGINES: Registry[Callable[..., Any]] = Registry(
    "engine",
    {
        "onnxruntime": "stagewhisper.engines.onnxruntime:OnnxRuntimeEngine",
        "reference": "stagewhisper.engines.reference:ReferenceEngine",
    },
)
"""Engine classes by name. Each says in `reads` whether it wants a Checkpoint or a Bundle as its first argument."""

__all__ = ["ENGINES", "AnyEngine", "DecoderOutput", "Engine"]
