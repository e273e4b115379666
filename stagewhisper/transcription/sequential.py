"""One window after the other, each starting where the last one's text ended: the seek loop.

Source: openai/whisper, `transcribe.py`; Radford et al. 2022, section 3.8.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from stagewhisper.arrays import Mel
from stagewhisper.decoding import decode_with_fallback, is_silence
from stagewhisper.engines.base import AnyEngine
from stagewhisper.mel import FRAMES_PER_SECOND, N_FRAMES, MelSpectrogram
from stagewhisper.tokenizer import Tokenizer
from stagewhisper.transcript import Segment
from stagewhisper.transcription.conditioning import Conditioning
from stagewhisper.transcription.options import TranscriptionOptions
from stagewhisper.transcription.segments import cut, seconds, segment


@dataclass(frozen=True)
class Progress:
    """The segments of one window, and how far the recording is done."""

    segments: tuple[Segment, ...]
    position: float
    """In seconds."""


def sequential(
    engine: AnyEngine, mel: MelSpectrogram, *, tokenizer: Tokenizer, options: TranscriptionOptions
) -> Iterator[Progress]:
    """The transcript of a recording, window by window, decoded as it is asked for."""
    conditioning = Conditioning(tokenizer, options, n_text_ctx=engine.dims.n_text_ctx)
    timestamp_begin, n_audio_ctx = tokenizer.timestamp_begin, engine.dims.n_audio_ctx
    n_segments = 0
    for seek, end in clips(options.clip_timestamps, n_frames=mel.n_frames):
        while seek < end:
            n_frames = min(N_FRAMES, end - seek)
            features = engine.encode(pad_window(mel.window(seek, n_frames))[None])
            prompt = conditioning.prompt()
            attempts = [replace(attempt, prompt=prompt) for attempt in options.attempts]
            result = decode_with_fallback(
                engine, features, tokenizer=tokenizer, attempts=attempts, thresholds=options.thresholds
            )
            segments: tuple[Segment, ...] = ()
            advance = n_frames
            if not is_silence(result, options.thresholds):
                window = cut(result.tokens, timestamp_begin=timestamp_begin, n_audio_ctx=n_audio_ctx, n_frames=n_frames)
                segments = tuple(
                    segment(piece, id=n_segments + i, seek=seek, result=result, tokenizer=tokenizer)
                    for i, piece in enumerate(window.pieces)
                )
                advance = window.n_frames
                conditioning.extend(segments, temperature=result.temperature)
            n_segments += len(segments)
            seek += advance
            yield Progress(segments, position=seconds(min(seek, mel.n_frames)))


def clips(timestamps: Sequence[float], *, n_frames: int) -> list[tuple[int, int]]:
    """First and last frame of each clip, none reaching past the recording's `n_frames`."""
    points = [min(round(time * FRAMES_PER_SECOND), n_frames) for time in timestamps] or [0]
    if len(points) % 2 == 1:
        points.append(n_frames)
    return list(zip(points[::2], points[1::2], strict=True))


def pad_window(mel: Mel) -> Float32[np.ndarray, "n_mels n_window_frames"]:
    """`mel` with zeros appended up to a whole window: zero lies above silence, but Whisper was trained with it."""
    return np.pad(mel, ((0, 0), (0, N_FRAMES - mel.shape[1])))
