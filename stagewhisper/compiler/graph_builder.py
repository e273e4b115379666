"""Write an ONNX graph node by node: the few verbs that Whisper's two graphs are spelled with."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from stagewhisper.checkpoint import LAYER_NORM_EPSILON, Checkpoint

OPSET = 20
"""The first opset with a Gelu operator; LayerNormalization is older."""

IR_VERSION = 10

Dim = int | str


class GraphBuilder:
    """Collects nodes and weights until `model()` closes the graph.

    Weights are read from the checkpoint only when the graph is saved, so a graph of any size is built in little memory.
    """

    def __init__(self, name: str, checkpoint: Checkpoint) -> None:
        self._name = name
        self._checkpoint = checkpoint
        self._tape = tape.Tape()
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._initializers: dict[str, ir.Value] = {}

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[Dim]) -> ir.Value:
        """A new graph input; a dimension given as text is free."""
        value = ir.val(name, dtype, shape)
        self._inputs.append(value)
        return value

    def output(self, name: str, value: ir.Value, dtype: ir.DataType, shape: Sequence[Dim]) -> None:
        """Make `value` a graph output under this name."""
        value.name = name
        value.shape = ir.Shape(shape)
        value.dtype = dtype
        self._outputs.append(value)

    def op(self, op_type: str, *inputs: ir.Value, **attributes: ir._convenience.SupportedAttrTypes) -> ir.Value:
        """The single output of a new node."""
        return self._tape.op(op_type, inputs, attributes)

    def constant(self, value: int | float | Sequence[int], *, dtype: type[np.generic] | None = None) -> ir.Value:
        """A constant tensor, shared by all who ask for the same one; integers are int64, floats float32."""
        array = np.asarray(value)
        array = array.astype(dtype or (np.int64 if array.dtype.kind == "i" else np.float32))
        name = f"const_{array.dtype}_{'x'.join(str(item) for item in array.ravel())}_{array.ndim}d"
        if name not in self._initializers:
            self._initializers[name] = self._tape.initializer(ir.tensor(array, name=name))
        return self._initializers[name]

    def weight(self, name: str, *, transpose: bool = False) -> ir.Value:
        """The checkpoint's tensor `name` in float32; `transpose` turns torch's [out, in] into [in, out]."""
        key = f"{name}.T" if transpose else name
        if key not in self._initializers:
            shape = self._checkpoint.shape(name)

            def read() -> ir.TensorProtocol:
                self._checkpoint.forget_pages()  # or each weight that was ever saved would count as memory
                array = self._checkpoint.weight(name)
                return ir.tensor(np.ascontiguousarray(array.T if transpose else array), name=key)

            lazy = ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape(shape[::-1] if transpose else shape), name=key)
            self._initializers[key] = self._tape.initializer(lazy)
        return self._initializers[key]

    def weight_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the checkpoint's tensor `name`, in torch's layout."""
        return self._checkpoint.shape(name)

    def linear(self, x: ir.Value, name: str, *, bias: bool = True) -> ir.Value:
        """`x` through the linear layer `name`."""
        product = self.op("MatMul", x, self.weight(f"{name}.weight", transpose=True))
        return self.op("Add", product, self.weight(f"{name}.bias")) if bias else product

    def layer_norm(self, x: ir.Value, name: str) -> ir.Value:
        """`x` normalised over its last axis by the layer norm `name`."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def dim(self, x: ir.Value, axis: int) -> ir.Value:
        """Length of one axis of `x` as a scalar, known when the graph runs."""
        return self.op("Gather", self.op("Shape", x), self.constant(axis), axis=0)

    def model(self) -> ir.Model:
        """The finished model."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._tape.nodes,
            initializers=tuple(self._initializers.values()),
            opset_imports={"": OPSET},
            name=self._name,
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="stagewhisper")
