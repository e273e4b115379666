"""Who is compared: our three recipes, and every peer in its forms."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from peer_figures import EXACT, INT8, REFERENCE
from peer_models import (
    Form,
    Source,
    ctranslate2_folder,
    ggml_file,
    olive_graphs,
    openai_file,
    openvino_folder,
    optimum_graphs,
    optimum_weights,
    our_bundle,
    transformers_folder,
)


@dataclass(frozen=True)
class Peer:
    """A program with a model in one form."""

    program: str
    """What `peer_workers/worker.py` calls it."""
    form: Callable[[Source], Form]
    """Makes the form, unless it is there."""
    environment: str | None = None
    """Whose Python runs it; None is ours."""


PEERS = {
    EXACT: Peer("stagewhisper", partial(our_bundle, recipe="exact")),
    INT8: Peer("stagewhisper", partial(our_bundle, recipe="int8")),
    "ours, small": Peer("stagewhisper", partial(our_bundle, recipe="small")),
    "faster-whisper, fp32": Peer("faster-whisper", partial(ctranslate2_folder, compute_type="float32")),
    "faster-whisper, int8": Peer("faster-whisper", partial(ctranslate2_folder, compute_type="int8")),
    "whisper.cpp, f16": Peer("whisper.cpp", partial(ggml_file, kind="f16"), "whisper.cpp"),
    "whisper.cpp, q8_0": Peer("whisper.cpp", partial(ggml_file, kind="q8_0"), "whisper.cpp"),
    "whisper.cpp, q5_0": Peer("whisper.cpp", partial(ggml_file, kind="q5_0"), "whisper.cpp"),
    "OpenVINO, int8": Peer("openvino", openvino_folder, "openvino"),
    "optimum, fp32": Peer("onnx export", partial(optimum_graphs, suffix="")),
    "optimum, int8": Peer("onnx export", partial(optimum_graphs, suffix="_quantized")),
    "optimum, int8 weights": Peer("onnx export", optimum_weights),
    "Olive, int8": Peer("onnx export", olive_graphs),
    REFERENCE: Peer("openai-whisper", openai_file),
    "transformers": Peer("transformers", transformers_folder),
}
