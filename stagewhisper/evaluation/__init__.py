"""How good and how fast a model is on a data set whose truth is known."""

__all__: list[str] = []
