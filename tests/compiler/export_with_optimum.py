"""Export a Hugging Face folder with optimum-onnx; `foreign_graphs.py` runs this in a process of its own.

optimum-onnx 0.1 needs transformers before 4.58, so it cannot live among the packages that the other tests need. Put
it into a folder beside them (torch is shared, nothing else is downloaded)::

    pip install --no-deps --target FOLDER optimum-onnx==0.1.0 optimum==2.1.0 "transformers==4.57.*" \\
        "huggingface-hub==0.36.*" "tokenizers==0.22.*"
    export STAGEWHISPER_TEST_OPTIMUM=FOLDER
"""

import sys
from pathlib import Path

NAMES = {
    "encoder_model": "encoder",
    "decoder_model": "decoder",
    "decoder_with_past_model": "decoder_with_past",
    "decoder_model_merged": "decoder_merged",
}


def main(source: str, target: str) -> None:
    """Write the parts of the model in the folder `source` into the folder `target`, as optimum's users get them."""
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import WhisperForConditionalGeneration

    torch.set_num_threads(1)
    model = WhisperForConditionalGeneration.from_pretrained(source).eval()
    onnx_export_from_model(model, target, task="automatic-speech-recognition-with-past", do_validation=False)
    for theirs, ours in NAMES.items():
        path = Path(target) / f"{theirs}.onnx"
        path.rename(path.with_name(f"{ours}.onnx"))


if __name__ == "__main__":
    main(*sys.argv[1:])
