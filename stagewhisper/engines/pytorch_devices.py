"""What torch may compute on here, by the names that users give."""

import torch

from stagewhisper.errors import EngineError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Types by the name of the precision."""

_ALL_GPUS = "cuda:all"


def find_devices(name: str | None) -> tuple[torch.device, ...]:
    """The devices that a name such as "cuda", "cuda:1", "mps", "cuda:0,cuda:1" or "cuda:all" stands for.

    Raises:
        EngineError: torch does not have one of them here.
    """
    known = known_devices()
    if name == _ALL_GPUS and any(one.startswith("cuda:") for one in known):
        return tuple(torch.device(one) for one in known if one.startswith("cuda:"))
    chosen = ["cpu"] if name is None else [part.strip() for part in name.split(",")]
    for one in chosen:
        if one not in known:
            raise EngineError(
                f"The engine 'pytorch' runs here on {', '.join(map(repr, known))} only, not on {one!r}. {_reason(one)}"
            )
    return tuple(torch.device("cuda:0" if one == "cuda" else one) for one in chosen)


def known_devices() -> tuple[str, ...]:
    """Names of what torch sees here."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ("cpu", *(["cuda"] if gpus else []), *gpus, *mps)


def find_dtype(precision: str | None, device: torch.device) -> torch.dtype:
    """The type of a precision; where none is given, float16 on CUDA devices, as openai/whisper, and float32 elsewhere.

    Raises:
        EngineError: torch computes nothing in that precision.
    """
    if precision is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision not in DTYPES:
        raise EngineError(f"The engine 'pytorch' computes in {', '.join(DTYPES)}, not in {precision!r}.")
    return DTYPES[precision]


def _reason(name: str) -> str:
    if not name.startswith("cuda"):
        return "Several are separated by commas."
    if torch.version.cuda is None:
        return "This torch was built without CUDA; pytorch.org tells how to install one that has it."
    return f"torch was built for CUDA {torch.version.cuda} and sees {torch.cuda.device_count()} such devices."
