import json

import pytest

from stagewhisper.benchmarking import Journal
from stagewhisper.errors import StagewhisperError
from tests.benchmarking.made_up import refused, result

DONE = result("jax", (1.0, 2.0), compile_s=0.5, versions={"jax": "1"})


def test_a_finished_point_is_found_by_what_it_depends_on(tmp_path):
    Journal(tmp_path / "j").add({"repeats": 5}, DONE)
    journal = Journal(tmp_path / "j")
    assert journal.find({"repeats": 5}) == DONE
    assert journal.find({"repeats": 6}) is None


def test_what_was_cut_off_is_passed_over_and_does_not_damage_what_follows(tmp_path):
    path = tmp_path / "j"
    path.write_text('{"key": "abc", "resu')
    Journal(path).add({"a": 1}, DONE)
    assert Journal(path).find({"a": 1}) == DONE
    assert json.loads(path.read_text().splitlines()[-1])["result"]["median"] == 1.5


def test_a_point_that_failed_is_tried_again(tmp_path):
    Journal(tmp_path / "j").add({"a": 1}, refused("jax", "no"))
    assert Journal(tmp_path / "j").find({"a": 1}) is None


def test_fresh_forgets(tmp_path):
    Journal(tmp_path / "j").add({"a": 1}, DONE)
    assert Journal(tmp_path / "j", fresh=True).find({"a": 1}) is None


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StagewhisperError, match=r"The journal .* cannot be used"):
        Journal(tmp_path / "none" / "j")
