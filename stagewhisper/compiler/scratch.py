"""Write a graph to a folder again and again while it changes, and each of its weights only once.

    after pass 1   graph.onnx ─► 0.weights
    after pass 2   graph.onnx ─► 0.weights, 1.weights (what pass 2 made)

ONNX Runtime maps the files into memory, so comparing a graph after each pass costs no second copy of its weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

_ALIGNMENT = 4096  # ONNX Runtime maps external data that starts at a page
_SMALL = 1024
"""Bytes up to which a tensor stays inside the graph: shapes and axes, which ONNX Runtime wants to read there."""


class Scratch:
    """A folder with a graph's latest form."""

    def __init__(self, folder: Path) -> None:
        """`folder` must exist, on a disk rather than in memory; whoever made it removes it."""
        self._folder = folder
        self._written: dict[int, tuple[ir.TensorProtocol, ir.ExternalTensor]] = {}
        self._n_files = 0

    def save(self, model: ir.Model) -> Path:
        """Path of the model's graph, whose weights lie beside it; a graph saved earlier is replaced.

        Raises:
            OSError: the disk is full, or the folder is gone.
        """
        self._write_new(model.graph)
        path = self._folder / "graph.onnx"
        with _referring(model.graph, self._written):
            ir.save(model, path)
        return path

    @contextmanager
    def weights_from_disk(self, model: ir.Model) -> Iterator[None]:
        """While the block lasts, the model's large weights refer to the files here: nothing computes them again.

        Those that were not saved yet stay what they are.
        """
        with _referring(model.graph, self._written):
            yield
        for _, reference in self._written.values():
            reference.release()  # of the file's memory, which is as large as all weights by now

    def _write_new(self, graph: ir.Graph) -> None:
        tensors = [value.const_value for value in graph.initializers.values()]
        large = {id(tensor): tensor for tensor in tensors if tensor is not None and tensor.nbytes > _SMALL}
        # What the graph does not hold any more is forgotten: it may be a large array in memory.
        self._written = {key: entry for key, entry in self._written.items() if key in large}
        new = [tensor for key, tensor in large.items() if key not in self._written]
        if not new:
            return
        name = f"{self._n_files}.weights"
        self._n_files += 1
        with (self._folder / name).open("wb") as file:
            for tensor in new:
                self._written[id(tensor)] = (tensor, self._append(file, name, tensor))

    def _append(self, file: BinaryIO, location: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        file.seek(offset)
        file.write(tensor.tobytes())
        return ir.ExternalTensor(
            location,
            offset,
            file.tell() - offset,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name or "",
            base_dir=self._folder,
        )


@contextmanager
def _referring(graph: ir.Graph, written: dict[int, tuple[ir.TensorProtocol, ir.ExternalTensor]]) -> Iterator[None]:
    """The graph with its large tensors replaced by references to the files, for as long as the block lasts."""
    values = [value for value in graph.initializers.values() if id(value.const_value) in written]
    tensors = [value.const_value for value in values]
    for value, tensor in zip(values, tensors, strict=True):
        reference = written[id(tensor)][1]
        reference.name = value.name or ""  # it may have another name than when it was written
        value.const_value = reference
    try:
        yield
    finally:
        for value, tensor in zip(values, tensors, strict=True):
            value.const_value = tensor
