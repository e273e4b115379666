"""Pythons of their own for peers that cannot live among our packages, made once, with pip, in the work folder.

optimum and Olive want older releases of transformers than our tests do, OpenVINO brings a converter that does, too.
Each environment sees our packages behind its own, so that torch and ONNX Runtime are the same and lie there once.
whisper.cpp is built from its sources for this processor, with OpenBLAS, which its encoder gains most from.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """What pip installs, in this order."""

    requirements: tuple[tuple[str, ...], ...]
    """Arguments of one call of pip each."""
    variables: dict[str, str] = field(default_factory=dict)
    """Set for the last call; {site} stands for the folder that packages go to."""


OPENBLAS = "{site}/scipy_openblas32"
CALLS = ("cblas_sgemm", "openblas_set_num_threads", "openblas_get_parallel")
ENVIRONMENTS = {
    "optimum": Environment((("optimum-onnx[onnxruntime]==0.1.0", "transformers==4.57.6"),)),
    "openvino": Environment(
        (
            ("openvino-genai==2026.4.1.0", "openvino==2026.4.1", "nncf>=3.3", "transformers==4.57.6"),
            ("--no-deps", "optimum-intel==2.2.0", "optimum==2.3.0"),  # it asks for torchvision, and does without
        )
    ),
    "olive": Environment((("olive-ai==0.13.0", "transformers==4.57.6"),)),
    "whisper.cpp": Environment(
        (
            ("scipy-openblas32==0.3.34.481.3", "requests"),
            ("--no-deps", "--no-cache-dir", "--no-binary", "pywhispercpp", "pywhispercpp==1.5.1"),
        ),
        {
            "PYWHISPERCPP_VERSION": "1.5.1",  # its archive does not tell its own version
            "SETUPTOOLS_SCM_PRETEND_VERSION": "1.5.1",
            "GGML_BLAS": "ON",
            "GGML_BLAS_VENDOR": "OpenBLAS",
            "BLAS_LIBRARIES": f"{OPENBLAS}/lib/libscipy_openblas.so",
            "BLAS_INCLUDE_DIRS": f"{OPENBLAS}/include",
            "CXXFLAGS": " ".join(f"-D{call}=scipy_{call}" for call in CALLS),  # that build's names begin so
            "LDFLAGS": f"-Wl,-rpath,{{site}}:{OPENBLAS}/lib -Wl,--disable-new-dtags",  # it looks for its parts there
        },
    ),
}


def python_of(name: str | None, *, work: Path) -> Path:
    """The Python of that environment, made now if need be; None is the one that runs this.

    Raises:
        SystemExit: pip failed; the message names its log.
    """
    if name is None:
        return Path(sys.executable)
    folder = work / "environments" / name
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        print(f"Installing {name} into {folder} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        ours = site_packages(Path(sys.executable))
        (site_packages(python) / "ours.pth").write_text(f"{ours}\n", encoding="utf-8")
        _install(ENVIRONMENTS[name], python, log=folder / "pip.log")
        done.touch()
    return python


def _install(environment: Environment, python: Path, *, log: Path) -> None:
    site = site_packages(python)
    for number, arguments in enumerate(environment.requirements, start=1):
        is_last = number == len(environment.requirements)
        variables = {name: value.format(site=site) for name, value in environment.variables.items()} if is_last else {}
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--verbose", *arguments]
        with log.open("ab") as file:
            finished = subprocess.run(command, env=os.environ | variables, stdout=file, stderr=file, check=False)
        if finished.returncode != 0:
            raise SystemExit(f"pip could not install {' '.join(arguments)}; {log} tells why.")


def site_packages(python: Path) -> Path:
    """Where this Python's packages are."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())
