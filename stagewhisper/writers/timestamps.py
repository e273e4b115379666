"""Seconds as subtitles spell them."""


def format_timestamp(seconds: float, *, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """`MM:SS.mmm`, or `HH:MM:SS.mmm` from one hour on or when `always_include_hours`.

    Source: openai/whisper, `whisper/utils.py`, whose rounding (halves to even) it shares.
    """
    total_ms = round(seconds * 1000.0)
    total_seconds, ms = divmod(total_ms, 1000)
    minutes, whole_seconds = divmod(total_seconds, 60)
    hours, minutes = divmod(minutes, 60)
    hours_part = f"{hours:02d}:" if always_include_hours or hours else ""
    return f"{hours_part}{minutes:02d}:{whole_seconds:02d}{decimal_marker}{ms:03d}"
