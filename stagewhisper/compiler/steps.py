"""One pass with its parameters: pipelines and recipes are lists of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stagewhisper.compiler.report import Parameter


@dataclass(frozen=True)
class PassStep:
    """One entry of a pipeline."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    tolerance: float | None = None
    """How far the pass may change the numbers; None is what the pass declares."""
