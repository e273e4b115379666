"""Put an exported nano into the package, if the wheel stays small enough.

    python scripts/embed_nano.py EXPORT_FOLDER

Copies what `training/export.py` wrote, without the vocabulary, which the package has anyway. The wheel with the new
model may have 15 MB, as pip downloads it; a larger one changes nothing. Whoever installed an older model keeps it in
the cache under the digest of its weights, so that nothing else has to be cleared.
"""

import argparse
import io
import shutil
import sys
import zipfile
from pathlib import Path

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.errors import CheckpointError
from stagewhisper.hub.known import EMBEDDED, EMBEDDED_FILES, embedded_path

PACKAGE = Path(__file__).parents[1] / "stagewhisper"
LARGEST_WHEEL_BYTES = 15_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, metavar="EXPORT_FOLDER", help="such as WORK/export/nano")
    exported = parser.parse_args().export
    missing = [name for name in EMBEDDED_FILES if not (exported / name).is_file()]
    if missing:
        sys.exit(f"{exported} lacks {', '.join(missing)}. Expected a folder that training.export wrote.")
    try:
        load_checkpoint(exported)
    except CheckpointError as error:
        sys.exit(f"The package could not read this model: {error}")
    wheel_bytes = compressed_bytes(exported)
    if wheel_bytes > LARGEST_WHEEL_BYTES:
        sys.exit(
            f"The wheel would have {wheel_bytes / 1e6:.1f} MB, and may have {LARGEST_WHEEL_BYTES / 1e6:.0f}. "
            f"Train a smaller model, or store its weights in fewer bits."
        )
    embed(exported, embedded_path())
    print(f"{EMBEDDED} is now {exported}; the wheel will have {wheel_bytes / 1e6:.1f} MB")


def compressed_bytes(model: Path) -> int:
    """What the package takes as a wheel, with the model in this folder for the embedded one."""
    files = {path.relative_to(PACKAGE): path for path in PACKAGE.rglob("*") if _is_shipped(path)}
    files |= {(embedded_path() / name).relative_to(PACKAGE): model / name for name in EMBEDDED_FILES}
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.write(path, name)
    return len(wheel.getvalue())


def embed(model: Path, folder: Path) -> None:
    """Copy the model's files over those in `folder`, readable to all whatever the original's permissions are."""
    folder.mkdir(exist_ok=True)
    for name in EMBEDDED_FILES:
        shutil.copyfile(model / name, folder / name)
        (folder / name).chmod(0o644)


def _is_shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


if __name__ == "__main__":
    main()
