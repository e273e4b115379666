import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from training.kinds import WHOLE
from training.schedule import STAGES, WEIGHTS, Schedule


def test_each_stage_draws_its_kinds_as_often_as_it_says():
    schedule = Schedule(10_000, 1e-3)
    begin = 0.0
    for until, kinds in STAGES:
        steps = range(int(begin * 10_000) + 1, int(until * 10_000) + 1)
        drawn = [schedule.kind(step) for step in steps]
        assert {kind: drawn.count(kind) / len(drawn) for kind, _ in kinds} == pytest.approx(dict(kinds), abs=0.01)
        begin = until
    assert begin == 1


def test_whole_windows_come_at_the_end():
    schedule = Schedule(1000, 1e-3)
    whole = [step for step in range(1000) if schedule.kind(step) == WHOLE]
    assert min(whole) > 450
    assert any(step > 950 for step in whole)


def test_the_shares_of_a_stage_are_whole():
    assert all(sum(share for _, share in kinds) == pytest.approx(1) for _, kinds in STAGES)
    assert all(weight > 0 for weight in WEIGHTS.values())


def test_the_rate_rises_for_a_while_and_falls_to_nothing():
    schedule = Schedule(1000, 2e-3, warm_up=100)
    rates = [schedule.rate(step) for step in range(1001)]
    top = rates.index(max(rates))
    assert rates[0] == pytest.approx(2e-3 / 100)
    assert 90 <= top <= 100
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(2e-3, rel=0.03)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_tuning_draws_from_the_last_stage_alone():
    schedule = Schedule(100, 1e-3, tuning=True)
    assert {schedule.kind(step) for step in range(100)} == {kind for kind, _ in STAGES[-1][1]}
    assert schedule.progress(0) == 1


def test_an_interrupted_training_goes_on_with_the_same_kinds():
    first, second = Schedule(500, 1e-3), Schedule(500, 1e-3)
    list(map(first.kind, range(200)))
    assert [first.kind(step) for step in range(200, 500)] == [second.kind(step) for step in range(200, 500)]
