"""Open a compiled graph in ONNX Runtime, and make one call of it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stagewhisper.engines.onnxruntime_past import Buffers, ort
from stagewhisper.errors import BundleError

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(graph: Path | bytes, *, bundle: Path, threads: int) -> ort.InferenceSession:
    """A session on the CPU for a graph of the bundle, or one that was cut out of it and names its files.

    Raises:
        BundleError: ONNX Runtime refuses the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: its warnings are not for our users
    if isinstance(graph, bytes):
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(bundle))
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"ONNX Runtime cannot load {bundle}: {error}. Compile it again.") from error


def run(session: ort.InferenceSession, inputs: Buffers, outputs: Mapping[str, ort.OrtValue | None]) -> Buffers:
    """The named outputs, in the buffers given or new ones; a binding of its own makes this safe in threads."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, place in outputs.items():
        if place is None:
            binding.bind_output(name, "cpu")
        else:
            binding.bind_ortvalue_output(name, place)
    session.run_with_iobinding(binding)
    return dict(zip(outputs, binding.get_outputs(), strict=True))


def buffer(array: np.ndarray) -> ort.OrtValue:
    """The array inside ONNX Runtime."""
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
