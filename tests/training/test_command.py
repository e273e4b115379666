import pytest

from stagewhisper.errors import DataSetError
from training.command import run


def test_an_error_raised_on_purpose_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        raise DataSetError("No corpus here.")

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: No corpus here.\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)
