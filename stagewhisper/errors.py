"""Every error and warning that the package raises on purpose.

    StagewhisperError
    ├── AudioError          the recording cannot be read, or holds no audio
    ├── OptionError         an option has an unknown name or an impossible value
    ├── DataSetError        a data set for an evaluation cannot be read, or lacks what it needs
    ├── EngineError         an engine or its device cannot do what was asked
    ├── CompilerError       a pass of the compiler failed, or broke the graph or its numbers
    └── ModelError          the model cannot be used
        ├── HubError        its name is unknown, or it is not here and cannot be fetched
        ├── CheckpointError its weights or its configuration are wrong, or hostile
        ├── TokenizerError  its vocabulary lacks what Whisper needs
        └── BundleError     its compiled form is damaged, outdated, or cannot be written

    StagewhisperWarning
    └── AudioWarning        a recording was read only in part

A message says what came, what was expected, and what to do about it.
"""


class StagewhisperError(Exception):
    """The root of all errors below; catching it catches everything raised on purpose."""


class AudioError(StagewhisperError):
    """A recording is missing, empty, corrupt, or has no audio stream."""


class OptionError(StagewhisperError, ValueError):
    """An option's name is unknown or its value is impossible."""


class DataSetError(StagewhisperError):
    """A data set is in no known form, is damaged, or has no recordings with a text."""


class EngineError(StagewhisperError):
    """An engine, its device or its precision is not available here."""


class CompilerError(StagewhisperError):
    """A pass of the compiler failed, made the graph illegal, or changed its numbers more than it may."""


class ModelError(StagewhisperError):
    """A model cannot be used."""


class HubError(ModelError):
    """A model's name is unknown, or its files are not here and cannot be fetched."""


class CheckpointError(ModelError):
    """A checkpoint lacks a tensor, has a wrong shape, or is not safe to read."""


class TokenizerError(ModelError):
    """A vocabulary lacks a token that Whisper's decoding needs."""


class BundleError(ModelError):
    """A compiled bundle is damaged, outdated, or cannot be written."""


class StagewhisperWarning(UserWarning):
    """The root of all warnings below."""


class AudioWarning(StagewhisperWarning):
    """A recording could be read only in part."""
