"""The encoder's graph in ONNX Runtime, whole or one side of it alone.

    encode           mel ─► cross_k_i, cross_v_i, …
    audio_features   mel ─► audio_features
    project          audio_features ─► cross_k_i, cross_v_i, …

Each is given one window at a time: its intermediate results then stay in the cache, which is faster than a batch, and
in int8 no window's rounding depends on the others.
"""

import threading
from collections.abc import Callable
from typing import Literal

import numpy as np

from stagewhisper.bundle import Bundle
from stagewhisper.engines.onnxruntime_cut import AUDIO_FEATURES, cut_from_features, cut_up_to_features
from stagewhisper.engines.onnxruntime_past import Buffers, ort, tensor_type
from stagewhisper.engines.onnxruntime_session import buffer, open_session, run

Side = Literal["encode", "audio_features", "project"]


class WindowGraph:
    """A graph with windows as its only input."""

    def __init__(self, session: ort.InferenceSession, *, outputs: Callable[[str], bool]) -> None:
        """`outputs` tells by their names which of the graph's outputs are wanted."""
        (given,) = session.get_inputs()
        self._session = session
        self._input, self._dtype = given.name, tensor_type(given.type)
        self._outputs = [output.name for output in session.get_outputs() if outputs(output.name)]

    def run(self, windows: np.ndarray) -> Buffers:
        """The outputs for all windows, their first axis."""
        windows = windows.astype(self._dtype, copy=False)
        if len(windows) == 1:
            return self._run(windows)
        joined: dict[str, np.ndarray] = {}
        for index in range(len(windows)):
            for name, value in self._run(windows[index : index + 1]).items():
                one = value.numpy()
                if name not in joined:
                    joined[name] = np.empty((len(windows), *one.shape[1:]), one.dtype)
                joined[name][index] = one[0]
        return {name: buffer(array) for name, array in joined.items()}

    def _run(self, window: np.ndarray) -> Buffers:
        return run(self._session, {self._input: buffer(window)}, dict.fromkeys(self._outputs))


class EncoderGraphs:
    """What can be computed of one bundle's encoder. Each side is opened when it is first asked for, or before."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        self._bundle, self._threads = bundle, threads
        self._opened: dict[Side, WindowGraph] = {}
        self._opening = threading.Lock()

    def side(self, side: Side) -> WindowGraph:
        """That side's graph.

        Raises:
            BundleError: ONNX Runtime refuses it, or it cannot be cut out.
        """
        with self._opening:
            if side not in self._opened:
                self._opened[side] = self._open(side)
            return self._opened[side]

    def _open(self, side: Side) -> WindowGraph:
        path = self._bundle.encoder
        cut = {"encode": None, "audio_features": cut_up_to_features, "project": cut_from_features}[side]
        session = open_session(path if cut is None else cut(path), bundle=self._bundle.path, threads=self._threads)
        if side == "audio_features":
            return WindowGraph(session, outputs=lambda name: name == AUDIO_FEATURES)
        return WindowGraph(session, outputs=lambda name: name.startswith("cross_"))
