"""Small graphs to try passes on, and bundles whose graphs were changed by passes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from stagewhisper.bundle import Bundle, writing_bundle
from stagewhisper.checkpoint import Checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.tokenizer import load_tokenizer

Edit = Callable[[ir.Graph], int]


class SmallGraph:
    """A graph written node by node; the last node's output is `y`."""

    def __init__(self, inputs: Mapping[str, tuple[ir.DataType, list[int | str]]]) -> None:
        self.inputs = {name: ir.val(name, dtype, shape) for name, (dtype, shape) in inputs.items()}
        self._nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self._constants.append(value)
        return value

    def op(self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: object) -> ir.Value:
        self._nodes.append(ir.node(op_type, list(inputs), attributes, domain=domain))  # type: ignore[arg-type]
        return self._nodes[-1].outputs[0]

    def append(self, node: ir.Node) -> tuple[ir.Value, ...]:
        """The outputs of a node that was made elsewhere."""
        self._nodes.append(node)
        return tuple(node.outputs)

    def model(self, **outputs: ir.Value) -> ir.Model:
        """The model; outputs are float32 unless they say otherwise."""
        for name, value in outputs.items():
            value.name, value.type = name, value.type or ir.TensorType(ir.DataType.FLOAT)
        domains = {node.domain: 1 for node in self._nodes if node.domain}
        graph = ir.Graph(
            list(self.inputs.values()),
            list(outputs.values()),
            nodes=self._nodes,
            initializers=self._constants,
            opset_imports={"": 20, **domains},
            name="small",
        )
        return ir.Model(graph, ir_version=10)


def run(model: ir.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name, from ONNX Runtime with its own optimisations on, as the engine runs graphs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root of the mean squared error over root of the mean square."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def changed_bundle(path: Path, checkpoint: Checkpoint, *edits: Edit) -> tuple[Bundle, list[int]]:
    """A bundle whose graphs went through `edits`, and how often these rewrote in both graphs together."""
    bundle = Bundle(
        path=path,
        dims=checkpoint.dims,
        precision="int8",
        source_digest="0" * 64,
        alignment_heads=checkpoint.alignment_heads,
    )
    counts = [0] * len(edits)
    with writing_bundle(bundle) as folder:
        for name, export in (("encoder", export_encoder), ("decoder", export_decoder)):
            model = export(checkpoint)
            counts = [count + edit(model.graph) for count, edit in zip(counts, edits, strict=True)]
            ir.save(model, folder / f"{name}.onnx", external_data=f"{name}.weights")
        load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file).save(folder / "tokenizer.json")
        (folder / "report.json").write_text("{}")
    return bundle, counts
