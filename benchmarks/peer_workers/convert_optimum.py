"""A Hugging Face folder through optimum: graphs in float32, and the same in int8. Runs in the Python of "optimum".

    python convert_optimum.py SOURCE TARGET

Int8 is optimum's dynamic quantisation for AVX512-VNNI, its documented setting for such CPUs.
"""

import sys
from pathlib import Path

from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

GRAPHS = ("encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx")


def main(source: str, target: str) -> None:
    main_export(
        source, target, task="automatic-speech-recognition-with-past", no_post_process=True, do_validation=False
    )
    for name in GRAPHS:
        ORTQuantizer.from_pretrained(target, file_name=name).quantize(
            save_dir=Path(target), quantization_config=AutoQuantizationConfig.avx512_vnni(is_static=False)
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
