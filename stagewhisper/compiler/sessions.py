"""Open a graph in ONNX Runtime as the engine does, to be timed, and make one call of it.

Whoever measures opens graphs here, so that all measure with the same settings.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stagewhisper.errors import BundleError

# As in the engine: nothing is sent to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort


def open_session(
    graph: Path | bytes,
    *,
    threads: int | None = None,
    profile_prefix: Path | None = None,
    is_alone: bool = True,
) -> ort.InferenceSession:
    """A session on the CPU; None threads are as many as the machine has physical cores.

    With `profile_prefix` every call is recorded by node, into the file that `end_profiling()` names. Threads wait
    actively for a session's next call, unless `is_alone` is False.

    Raises:
        BundleError: ONNX Runtime refuses the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors only: its warnings are not for our users
    if not is_alone:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        name = graph if isinstance(graph, Path) else "a graph"
        raise BundleError(f"ONNX Runtime cannot load {name}: {error}. Compile it again.") from error


def bound_call(
    session: ort.InferenceSession, inputs: Mapping[str, ort.OrtValue], aliases: Mapping[str, str]
) -> ort.IOBinding:
    """One call, ready for `run_with_iobinding`.

    `aliases` names the outputs that are written over inputs, by those inputs; the others are allocated by ONNX Runtime.
    """
    overwritten = {output: given for given, output in aliases.items()}
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        if output.name in overwritten:
            binding.bind_ortvalue_output(output.name, inputs[overwritten[output.name]])
        else:
            binding.bind_output(output.name, "cpu")
    return binding


def value_of(array: np.ndarray) -> ort.OrtValue:
    """The array inside ONNX Runtime."""
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
