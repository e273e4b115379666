"""A model's name → a verified local folder; the only part of the package that touches the network."""

from stagewhisper.hub.cache import CachedModel, cached_models
from stagewhisper.hub.find import find_model
from stagewhisper.hub.known import KnownModel, known_models

__all__ = ["CachedModel", "KnownModel", "cached_models", "find_model", "known_models"]
