"""One window of audio to tokens: everything openai/whisper decodes with."""

from stagewhisper.decoding.decode import check_options, decode
from stagewhisper.decoding.fallback import Thresholds, decode_with_fallback, is_silence
from stagewhisper.decoding.language import detect_language, most_probable
from stagewhisper.decoding.options import DecodingOptions, DecodingResult

__all__ = [
    "DecodingOptions",
    "DecodingResult",
    "Thresholds",
    "check_options",
    "decode",
    "decode_with_fallback",
    "detect_language",
    "is_silence",
    "most_probable",
]
