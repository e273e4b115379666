"""Models in whisper.cpp's form, by its own converter and its own quantiser, whose sources come with its bindings.

    model.pt ─► models/convert-pt-to-ggml.py ─► float16 ─► whisper-quantize ─► q8_0, q5_0

Quantised files keep the convolutions and whatever has one axis as it was.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import torch
import whisper
from peer_environments import ENVIRONMENTS, OPENBLAS, python_of, site_packages

NAME = "whisper.cpp"


def write_ggml(source: Path, path: Path, *, work: Path) -> None:
    """The checkpoint in float16, whisper.cpp's usual form; its converter takes for granted that it is so already."""
    converter = sources(work) / "models" / "convert-pt-to-ggml.py"
    openai = Path(whisper.__file__).parents[1]  # it takes filters and vocabulary from there
    folder = path.with_suffix(".folder")
    folder.mkdir(exist_ok=True)
    checkpoint = torch.load(source, weights_only=True)
    weights = {name: weight.half() for name, weight in checkpoint["model_state_dict"].items()}
    torch.save(checkpoint | {"model_state_dict": weights}, folder / "half.pt")
    run([sys.executable, str(converter), str(folder / "half.pt"), str(openai), str(folder)])
    (folder / "ggml-model.bin").rename(path)
    shutil.rmtree(folder)


def quantised_ggml(half: Path, path: Path, *, kind: str, work: Path) -> None:
    """The float16 file in whisper.cpp's format `kind`, such as "q8_0"."""
    run([str(quantiser(work)), str(half), str(path), kind])


def quantiser(work: Path) -> Path:
    """whisper.cpp's `whisper-quantize`, compiled now if need be and linked to the library that the bindings brought."""
    root, tool = sources(work), work / "whisper-quantize"
    if tool.exists():
        return tool
    site = site_packages(python_of(NAME, work=work))
    files = [root / "examples" / name for name in ("quantize/quantize.cpp", "common.cpp", "common-ggml.cpp")]
    headers = [f"-I{root / folder}" for folder in ("include", "ggml/include", "examples")]
    libraries = sorted(str(path) for path in site.glob("lib*.so") if path.name.startswith(("libggml", "libwhisper")))
    found_at = f"-Wl,-rpath,{site}:{OPENBLAS.format(site=site)}/lib"
    linked = [*libraries, found_at, "-Wl,--disable-new-dtags", "-pthread"]
    run(["g++", "-std=c++17", "-O2", *headers, *map(str, files), *linked, "-o", str(tool)])
    return tool


def sources(work: Path) -> Path:
    """whisper.cpp's sources, of the very release that was installed."""
    folder = work / "sources" / NAME
    if not folder.exists():
        environment = ENVIRONMENTS[NAME]
        *options, requirement = environment.requirements[-1]
        unpacked = folder.with_name("unpacked")
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "download", *options, "-d", str(unpacked), requirement]
        versions = {name: value for name, value in environment.variables.items() if name.endswith("VERSION")}
        run(pip, variables=versions)
        (archive,) = unpacked.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        (inside,) = unpacked.glob("*/whisper.cpp")
        inside.rename(folder)
    return folder


def run(command: list[str], *, variables: dict[str, str] | None = None) -> None:
    """Raises SystemExit with what it printed, if it fails."""
    finished = subprocess.run(command, env=os.environ | (variables or {}), capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{(finished.stderr or finished.stdout)[-3000:]}")
