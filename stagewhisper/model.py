"""A loaded model, and what users call on it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from stagewhisper.audio import SAMPLE_RATE, AudioSource, load_audio
from stagewhisper.bundle import Bundle, is_bundle, read_bundle
from stagewhisper.checkpoint import ModelDims, load_checkpoint
from stagewhisper.decoding import check_options, detect_language, most_probable
from stagewhisper.engines import ENGINES, AnyEngine, EngineChoice, Part, PlacedEngine
from stagewhisper.errors import EngineError, ModelError, OptionError
from stagewhisper.hub import find_model
from stagewhisper.mel import N_FRAMES, MelSpectrogram
from stagewhisper.tokenizer import Tokenizer, load_tokenizer
from stagewhisper.transcript import Segment, Transcript
from stagewhisper.transcription import (
    TranscribeOptions,
    TranscriptionOptions,
    sequential,
    transcription_options,
)

DEFAULT_MODEL = "turbo"
DEFAULT_ENGINE = "onnxruntime"
PRECISIONS = ("fp32", "fp16", "int8", "int4", "auto")


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    engine: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    offline: bool = False,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    encoder_engine: str | None = None,
    encoder_device: str | None = None,
    encoder_precision: str | None = None,
) -> "Model":
    """The model, ready to transcribe; fetched and compiled on first use.

    Args:
        model: a name such as "base" or "large-v3", a Hugging Face `owner/name`, a checkpoint's folder or `.pt` file,
            or a compiled bundle's folder.
        engine: "onnxruntime" (the default), "jax", "pytorch" or "reference".
        device: where the engine runs; "cpu" is the default, and for "pytorch" there are "cuda", "cuda:1", "mps", and
            several separated by commas, which share a batch; for "jax", whose default is the best that it finds,
            "gpu", "tpu", and "tpu:4x2", where 4 share a batch and 2 the weights.
        precision: "fp32", exact, is the default, but "fp16" on CUDA devices; "int8" and "int4" take less time and
            memory, and change some words; "auto" is int8 in what is measured to be its fastest form on this machine;
            "fp16" is for GPUs; "bf16" is for the engines "jax" (its default on TPUs)
            and "pytorch". A bundle has one already.
        threads: cores that one call may use; None takes all physical ones.
        offline: never ask the network; the model must be here already.
        revision: commit or branch of the model's repository.
        cache_dir: folder for fetched and compiled models, instead of the user's Hugging Face cache and our own.
        encoder_engine: an engine for the encoder; `engine` then runs the decoder alone.
        encoder_device: where the encoder runs; None is `device` on the decoder's engine, and another engine's choice.
        encoder_precision: what it computes in; None is `precision` on the decoder's engine, and another's choice.

    Raises:
        HubError: there is no such model, or it is not here and cannot be fetched.
        CheckpointError: its weights or configuration are wrong.
        BundleError: the cache cannot be written, or a named bundle is damaged.
        ModelError: its vocabulary or its shape is not Whisper's.
        EngineError: the engine cannot run on that device or in that precision.
        OptionError: there is no such engine, or `model` is neither text nor a path.
        CompilerError: the model cannot be compiled in that precision.
    """
    if not isinstance(model, str | Path):
        raise OptionError(f"model is {model!r}; give a name or a path.")
    decoder = EngineChoice(engine or DEFAULT_ENGINE, device, precision)
    encoder = decoder.for_encoder(encoder_engine, device=encoder_device, precision=encoder_precision)
    for choice in (decoder, encoder):
        _check_choice(choice, is_alone=encoder == decoder)
    cache = None if cache_dir is None else Path(cache_dir)
    path = Path(model)
    if not is_bundle(path):
        path = find_model(model, revision=revision, offline=offline, cache_dir=cache)
    if encoder == decoder:
        return Model(*_opened(decoder, path, threads=threads, cache_dir=cache))
    first, _ = _opened(encoder, path, threads=threads, cache_dir=cache, part="encoder")
    second, tokenizer = _opened(decoder, path, threads=threads, cache_dir=cache, part="decoder")
    return Model(PlacedEngine(encoder=first, decoder=second), tokenizer)


def _check_choice(choice: EngineChoice, *, is_alone: bool) -> None:
    """Raise for what is known to be wrong before a model is looked for."""
    if choice.precision not in (None, *PRECISIONS, "bf16"):
        raise EngineError(f"No precision named {choice.precision!r}. Known: {', '.join(PRECISIONS)}, bf16.")
    engine_class = ENGINES.get(choice.engine)
    if not is_alone and not getattr(engine_class, "has_parts", False):
        raise EngineError(
            f"The engine {choice.engine!r} runs whole models only. Choose another, or leave the encoder's options out."
        )


def _opened(
    choice: EngineChoice, path: Path, *, threads: int | None, cache_dir: Path | None, part: Part = "whole"
) -> tuple[Any, Tokenizer]:
    """The engine for one part of the model at `path`, and the model's vocabulary."""
    engine_class, precision = ENGINES.get(choice.engine), choice.precision
    options: dict[str, Any] = {"device": choice.device, "threads": threads}
    if part != "whole":
        options["part"] = part
    if engine_class.reads == "bundle":
        bundle = _bundle_for(choice, path, cache_dir=cache_dir)
        return engine_class(bundle, **options), load_tokenizer(bundle.dims.n_vocab, bundle.tokenizer)
    if is_bundle(path):
        raise EngineError(
            f"{path} is compiled for ONNX Runtime. Give the engine {choice.engine!r} the checkpoint it was made from."
        )
    precisions: tuple[str, ...] = getattr(engine_class, "precisions", ("fp32",))
    if precision not in (None, *precisions):
        raise EngineError(
            f"The engine {choice.engine!r} computes in {', '.join(precisions)} only, not in {precision}. "
            f"Leave the precision out."
        )
    if len(precisions) > 1:
        options["precision"] = precision
    if getattr(engine_class, "keeps_programs", False):
        options["cache_dir"] = _programs_folder(cache_dir)
    checkpoint = load_checkpoint(path)
    return engine_class(checkpoint, **options), load_tokenizer(checkpoint.dims.n_vocab, checkpoint.tokenizer_file)


def _bundle_for(choice: EngineChoice, path: Path, *, cache_dir: Path | None) -> Bundle:
    """The bundle that an engine runs, if it can."""
    if choice.precision == "bf16":
        raise EngineError(
            f"No bundle is compiled in bf16. Choose {', '.join(PRECISIONS)}, or the engine 'jax' or 'pytorch'."
        )
    if choice.precision == "fp16":
        _refuse_gpu("fp16", device=choice.device)  # before it is compiled
    bundle = open_bundle(path, precision=choice.precision, cache_dir=cache_dir)
    if bundle.target == "gpu":
        _refuse_gpu(f"{path} is compiled in {bundle.precision}, which", device=choice.device)
    return bundle


def _programs_folder(cache_dir: Path | None) -> Path:
    """Where an engine that compiles while it runs keeps its programs for the next process."""
    from stagewhisper.compiler import default_cache_dir

    return (cache_dir or default_cache_dir()) / "programs"


def open_bundle(path: Path, *, precision: str | None, cache_dir: Path | None) -> Bundle:
    """The bundle in the folder `path`, or that of the checkpoint there in this precision; compiled if need be.

    Raises what `load` raises.
    """
    if is_bundle(path):
        bundle = read_bundle(path)
        if precision not in (None, bundle.precision):
            raise EngineError(
                f"{path} is compiled in {bundle.precision}, not {precision}. "
                f"Name the checkpoint that it was made from, or leave the precision out."
            )
        return bundle
    from stagewhisper.compiler import RECIPE_OF_PRECISION, compiled, default_cache_dir, fastest_recipe, load_recipe

    checkpoint = load_checkpoint(path)
    if precision == "auto":
        recipe = fastest_recipe(checkpoint, cache_dir=cache_dir or default_cache_dir()).recipe
    else:
        recipe = load_recipe(RECIPE_OF_PRECISION[precision or "fp32"])
    return compiled(checkpoint, recipe=recipe, cache_dir=cache_dir)


def _refuse_gpu(precision: str, *, device: str | None) -> None:
    if device in (None, "cpu"):
        raise EngineError(
            f"{precision} is for GPUs here: the CPU has few operators in it. Choose fp32, int8 or int4, or a device."
        )


class Model:
    """An engine with its vocabulary. May be used from several threads at once."""

    def __init__(self, engine: AnyEngine, tokenizer: Tokenizer) -> None:
        """`load` makes one from a name.

        Raises:
            ModelError: the model does not hear in windows of 30 seconds, which all of transcription counts in.
        """
        if 2 * engine.dims.n_audio_ctx != N_FRAMES:  # the encoder halves the frame rate
            raise ModelError(f"The model's n_audio_ctx is {engine.dims.n_audio_ctx}; Whisper's is {N_FRAMES // 2}.")
        self.engine = engine
        self.tokenizer = tokenizer

    @property
    def dims(self) -> ModelDims:
        """The model's shape."""
        return self.engine.dims

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows languages besides English."""
        return self.tokenizer.is_multilingual

    def transcribe(self, audio: AudioSource, **options: Unpack[TranscribeOptions]) -> Transcript:
        """The transcript of a recording.

        `audio` is a path, an open binary file, the bytes of a file, or samples: mono, 16 kHz, full scale at ±1.
        The options are openai/whisper's.

        Raises:
            AudioError: the recording cannot be read.
            OptionError: an option's name or value is wrong.
        """
        return self.segments(audio, **options).transcript()

    def segments(self, audio: AudioSource, **options: Unpack[TranscribeOptions]) -> "SegmentStream":
        """The transcript's segments, decoded one window ahead of whoever asks for them.

        Takes what `transcribe` takes, and raises what it raises: errors of audio and options at once.
        """
        checked = transcription_options(options)
        self._check(checked)
        samples = load_audio(audio)
        return SegmentStream(self, MelSpectrogram(samples, self.dims.n_mels), checked, len(samples) / SAMPLE_RATE)

    def detect_language(self, audio: AudioSource) -> dict[str, float]:
        """The probability of every language code, judged on the first 30 seconds.

        Raises:
            AudioError: the recording cannot be read.
            OptionError: the model knows English only.
        """
        return self._detect_language(MelSpectrogram(load_audio(audio), self.dims.n_mels))

    def _detect_language(self, mel: MelSpectrogram) -> dict[str, float]:
        features = self.engine.encode(mel.window(0, N_FRAMES)[None])
        return detect_language(self.engine, features, tokenizer=self.tokenizer, n_audio=1)[0]

    def _check(self, options: TranscriptionOptions) -> None:
        """Raise OptionError now for what would fail only when the first window is decoded."""
        if not self.is_multilingual and options.language not in (None, "en"):
            raise OptionError(f"This model knows English only, not {options.language!r}. Use a model without '.en'.")
        check_options(
            replace(options.attempts[0], language=options.language or "en"),
            tokenizer=self.tokenizer,
            n_text_ctx=self.dims.n_text_ctx,
        )


class SegmentStream:
    """The segments of one transcription, in order. Each can be taken once, as with any iterator."""

    language: str
    """Code of the spoken language, given or detected."""
    language_probability: float | None
    """How sure the detection was; None when the language was given."""
    duration: float
    """Length of the recording in seconds."""
    position: float
    """How much of it is done, in seconds."""

    def __init__(self, model: Model, mel: MelSpectrogram, options: TranscriptionOptions, duration: float) -> None:
        self.duration = duration
        self.position = 0.0
        self.language, self.language_probability = _language(model, mel, options)
        self._model = model
        self._taken: list[Segment] = []
        self._coming = self._decode(mel, options.in_language(self.language))

    def __iter__(self) -> Iterator[Segment]:
        return self

    def __next__(self) -> Segment:
        segment = next(self._coming)
        self._taken.append(segment)
        return segment

    def transcript(self) -> Transcript:
        """The whole transcript, with the segments already taken; decodes what is left."""
        for _ in self:
            pass
        tokens = [token for segment in self._taken for token in segment.tokens]
        return Transcript(
            text=self._model.tokenizer.decode(tokens),
            segments=tuple(self._taken),
            language=self.language,
            language_probability=self.language_probability,
            duration=self.duration,
        )

    def _decode(self, mel: MelSpectrogram, options: TranscriptionOptions) -> Iterator[Segment]:
        for progress in sequential(self._model.engine, mel, tokenizer=self._model.tokenizer, options=options):
            self.position = progress.position
            yield from progress.segments


def _language(model: Model, mel: MelSpectrogram, options: TranscriptionOptions) -> tuple[str, float | None]:
    if options.language is not None:
        return options.language, None
    if not model.is_multilingual:
        return "en", None
    probabilities = model._detect_language(mel)
    language = most_probable(probabilities)
    return language, probabilities[language]


def transcribe(
    audio: AudioSource, model: str | Path = DEFAULT_MODEL, **options: Unpack[TranscribeOptions]
) -> Transcript:
    """The transcript of a recording, in one line; to transcribe several, `load` the model once.

    Raises what `load` and `Model.transcribe` raise.
    """
    return load(model).transcribe(audio, **options)
