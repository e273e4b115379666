"""Whisper speech recognition, compiled for the machine at hand."""

__version__ = "0.1.0"
