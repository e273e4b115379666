import pytest

from stagewhisper.benchmarking import Grid
from stagewhisper.benchmarking.points import groups
from stagewhisper.benchmarking.programs import PROGRAMS, refusal
from stagewhisper.errors import OptionError


def test_a_grid_is_every_combination_and_each_piece_of_work_once():
    grid = Grid(("jax", "pytorch"), ("nano",), dtypes=("float32", "bfloat16"), batches=(16, 1), audio=("a", "b"))
    points = grid.points()
    assert len(points) == len(set(points)) == 2 * 2 * 2 * 2
    assert {(point.mode, point.batch) for point in points} == {("sequential", 1), ("batched", 16)}


def test_a_batch_of_one_is_sequential_and_sequential_has_no_batch():
    assert {p.mode for p in Grid(("jax",), ("nano",), batches=(1,), modes=("batched",)).points()} == {"sequential"}
    assert {p.batch for p in Grid(("jax",), ("nano",), batches=(8, 4), modes=("sequential",)).points()} == {1}


def test_points_of_a_group_do_the_same_work():
    points = Grid(("jax", "pytorch"), ("nano", "tiny"), dtypes=("float32", "bfloat16"), batches=(1, 8)).points()
    found = list(groups(points))
    assert [len(group) for group in found] == [4] * 4
    assert all(len({point.group for point in group}) == 1 for group in found)
    assert tuple(point for group in found for point in group) == points


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engines": ("jaxx",)}, "No engine named 'jaxx'. Known: onnxruntime"),
        ({"engines": ()}, "No engine was given"),
        ({"dtypes": ("fp8",)}, "No dtype named 'fp8'"),
        ({"modes": ("fast",)}, "No mode named 'fast'"),
        ({"devices": ("gpu9",)}, "No device named 'gpu9'"),
        ({"batches": (0,)}, "A batch of 0"),
        ({"models": ()}, "No models were given"),
    ],
)
def test_an_unknown_value_is_refused_with_those_that_are_known(changes, message):
    with pytest.raises(OptionError, match=message):
        Grid(**{"engines": ("jax",), "models": ("nano",), **changes})


def test_a_program_says_why_it_cannot_take_a_point(monkeypatch):
    assert refusal("pytorch", device="cpu", dtype="float32") is None
    assert refusal("onnxruntime", device="cuda", dtype="float32") == "onnxruntime does not run on cuda; it runs on cpu"
    assert "bfloat16" in refusal("openai-whisper", device="cuda", dtype="bfloat16")
    assert "float32 on a processor" in refusal("openai-whisper", device="cpu", dtype="float16")
    monkeypatch.setattr("stagewhisper.benchmarking.programs.find_spec", lambda name: None if name == "jax" else name)
    assert refusal("jax", device="cpu", dtype="float32") == "jax is not installed: pip install '.[jax]'"


def test_every_program_has_its_driver():
    from importlib.util import find_spec

    assert all(find_spec(f"stagewhisper.benchmarking.{program.module}") for program in PROGRAMS.values())
