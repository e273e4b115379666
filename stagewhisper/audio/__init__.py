"""Any recording → mono samples at 16 kHz: files and their bytes through PyAV, arrays as they are."""

from stagewhisper.audio.loading import AudioSource, audio_blocks, load_audio
from stagewhisper.audio.resampling import SAMPLE_RATE

__all__ = ["SAMPLE_RATE", "AudioSource", "audio_blocks", "load_audio"]
