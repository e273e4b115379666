"""What users import is there, is listed, and costs no framework."""

import importlib
import importlib.resources
import pkgutil
import subprocess
import sys

import pytest

import stagewhisper

HEAVY = (
    "av",
    "huggingface_hub",
    "jax",
    "numpy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "rich",
    "soxr",
    "tokenizers",
    "torch",
)
MODULES = list(pkgutil.walk_packages(stagewhisper.__path__, "stagewhisper."))
PACKAGES = ["stagewhisper", *sorted(module.name for module in MODULES if module.ispkg)]


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by the alphabet: the linter's own order."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_there_are_packages_to_look_at() -> None:
    assert "stagewhisper.decoding" in PACKAGES


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_its_public_names_sorted(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__doc__
    assert list(package.__all__) == sorted(package.__all__, key=in_order)
    assert len(set(package.__all__)) == len(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_can_be_imported(name: str) -> None:
    package = importlib.import_module(name)
    for public in package.__all__:
        assert getattr(package, public) is not None


def test_the_library_is_two_functions_and_their_results() -> None:
    types = {"Model", "Segment", "SegmentStream", "StagewhisperError", "Transcript", "Word"}
    assert set(stagewhisper.__all__) == {"load", "transcribe", *types}
    assert stagewhisper.load.__module__ == "stagewhisper.model"


def test_dir_lists_names_that_were_not_imported_yet() -> None:
    assert set(dir(stagewhisper)) >= {*stagewhisper.__all__, "__version__"}
    assert dir(stagewhisper) == sorted(dir(stagewhisper))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'stagewhisper' has no attribute 'trancribe'"):
        stagewhisper.trancribe  # noqa: B018  # looking is what is tested
    with pytest.raises(ImportError, match="trancribe"):
        exec("from stagewhisper import trancribe")


def test_every_error_and_warning_has_one_root() -> None:
    import stagewhisper.errors as errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 5
    for found in classes:
        assert issubclass(found, errors.StagewhisperWarning if issubclass(found, Warning) else errors.StagewhisperError)


def test_types_are_shipped() -> None:
    assert (importlib.resources.files("stagewhisper") / "py.typed").is_file()


@pytest.mark.parametrize(
    "statement", ["import stagewhisper", "import stagewhisper, stagewhisper.errors; dir(stagewhisper)"]
)
def test_importing_the_library_loads_no_framework(statement: str) -> None:
    program = f"{statement}; import sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout.strip() == "[]"


def test_loading_a_model_by_onnxruntime_imports_no_other_framework() -> None:
    program = (
        "import stagewhisper.model, sys; print([name for name in ('jax', 'torch', 'onnx_ir') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout.strip() == "[]"
