"""The model's arithmetic on several frameworks, behind one protocol."""

from stagewhisper.engines.base import AnyEngine, DecoderOutput, Engine, EngineFactory
from stagewhisper.engines.generation import Generates, Generation, GenerationRules, TimestampRules
from stagewhisper.engines.parts import Part, SplitEngine
from stagewhisper.engines.placed import EngineChoice, PlacedEngine
from stagewhisper.registry import Registry

ENGINES: Registry[EngineFactory] = Registry(
    "engine",
    {
        "jax": "stagewhisper.engines.jax:JaxEngine",
        "onnxruntime": "stagewhisper.engines.onnxruntime:OnnxRuntimeEngine",
        "pytorch": "stagewhisper.engines.pytorch:PyTorchEngine",
        "reference": "stagewhisper.engines.reference:ReferenceEngine",
    },
    extras={"jax": "jax", "torch": "torch"},
)
"""Engine classes by name."""

__all__ = [
    "ENGINES",
    "AnyEngine",
    "DecoderOutput",
    "Engine",
    "EngineChoice",
    "EngineFactory",
    "Generates",
    "Generation",
    "GenerationRules",
    "Part",
    "PlacedEngine",
    "SplitEngine",
    "TimestampRules",
]
