"""What the environment says; the layers below are told, and never look themselves."""

import argparse
import os
from pathlib import Path
from typing import Any


def hub_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """`cache_dir`, `offline` and `revision` from the options, or from the environment where they are not given.

    HF_HUB_OFFLINE is read as huggingface_hub reads it, and holds even against `--offline False`.
    """
    folder = arguments.model_dir or os.environ.get("STAGEWHISPER_CACHE")
    told_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    return {
        "cache_dir": Path(folder) if folder else None,
        "offline": bool(arguments.offline) or told_offline,
        "revision": arguments.revision,
    }
