"""The rules that `eliminate_transposes` is made of; each takes Transposes out of a graph or leaves it alone."""

__all__: list[str] = []
