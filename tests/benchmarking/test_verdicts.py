import pytest

from stagewhisper.benchmarking.verdicts import CONFIRMED, NOT_DECIDED, REFUTED, article_verdicts
from tests.benchmarking.made_up import refused, result

STEADY = (1.0, 1.01, 0.99, 1.0, 1.0)
FAST, TWICE, THREE_TIMES = STEADY, tuple(2 * s for s in STEADY), tuple(3 * s for s in STEADY)
WIDE = (0.5, 1.0, 2.0, 0.6, 1.7)


def verdict(results, words):
    """The one whose claim has these words."""
    (found,) = [each for each in article_verdicts(results) if words in each.claim]
    return found


class TestFirstRun:
    def judged(self, *, jax_first, compile_s, torch_first=2.0):
        jax = result("jax", STEADY, first=jax_first, compile_s=compile_s)
        return verdict([jax, result("pytorch", STEADY, first=torch_first)], "first run")

    def test_it_is_confirmed_where_compiling_makes_it_slower(self):
        found = self.judged(jax_first=12.0, compile_s=10.0)
        assert found.verdict == CONFIRMED
        assert found.claim == "On cpu, JAX is slower than our PyTorch on the first run, because it compiles"
        assert "took 6 times that of our PyTorch, and 12 times its own warm run" in found.reason
        assert "took 10 s, 90.9 % of the difference" in found.reason

    def test_it_is_refuted_where_the_first_run_is_no_slower(self):
        assert self.judged(jax_first=1.5, compile_s=0.4).verdict == REFUTED

    def test_it_is_refuted_where_something_else_makes_it_slower(self):
        assert self.judged(jax_first=12.0, compile_s=1.0).verdict == REFUTED

    def test_it_is_not_decided_where_cells_disagree(self):
        cells = [
            result("jax", STEADY, first=12.0, compile_s=10.0),
            result("pytorch", STEADY, first=2.0),
            result("jax", STEADY, first=1.5, compile_s=0.4, audio="short"),
            result("pytorch", STEADY, first=2.0, audio="short"),
        ]
        assert verdict(cells, "first run").verdict == NOT_DECIDED

    def test_it_is_not_decided_where_pytorch_was_not_measured(self):
        found = verdict([result("jax", STEADY), refused("pytorch", "torch is not installed")], "first run")
        assert (found.verdict, found.reason) == (NOT_DECIDED, "Nothing was measured on both sides.")


class TestWarm:
    @pytest.mark.parametrize(
        ("device", "jax", "torch", "expected", "words"),
        [
            ("cpu", FAST, TWICE, CONFIRMED, "2 [2, 2] times that of our PyTorch, 2.00 times on average (1 cell)."),
            ("cpu", FAST, tuple(9 * s for s in STEADY), REFUTED, "the direction is as claimed, the factor is not."),
            ("cpu", TWICE, FAST, REFUTED, "it is the other way round."),
            ("cpu", WIDE, STEADY, NOT_DECIDED, "their intervals hold 1."),
            ("cuda", TWICE, FAST, CONFIRMED, "0.5 [0.5, 0.5] times"),
            ("cuda", FAST, TWICE, REFUTED, "it is the other way round."),
        ],
    )
    def test_the_factor_of_two_is_judged_by_device(self, device, jax, torch, expected, words):
        cells = [result("jax", jax, device=device), result("pytorch", torch, device=device)]
        found = verdict(cells, "2 times slower" if device == "cuda" else "2 times faster")
        assert found.verdict == expected
        assert words in found.reason

    def test_cells_that_disagree_decide_nothing(self):
        cells = [result("jax", FAST), result("pytorch", TWICE)]
        cells += [result("jax", TWICE, audio="short"), result("pytorch", FAST, audio="short")]
        assert verdict(cells, "2 times faster").verdict == NOT_DECIDED

    def test_too_few_runs_have_no_spread(self):
        found = verdict([result("jax", (1.0, 1.0)), result("pytorch", (2.0, 2.0))], "2 times faster")
        assert (found.verdict, found.reason) == (
            NOT_DECIDED, "Fewer than 3 warm runs have no spread to judge by.",
        )  # fmt: skip

    def test_each_pytorch_has_its_own_verdict(self):
        cells = [result("jax", FAST), result("pytorch", FAST), result("transformers", TWICE)]
        claims = [each.claim for each in article_verdicts(cells)]
        assert sum("our PyTorch once" in claim for claim in claims) == 2
        assert sum("transformers' PyTorch once" in claim for claim in claims) == 2

    @pytest.mark.parametrize(
        ("torch", "expected"),
        [(TWICE, REFUTED), (tuple(80 * s for s in STEADY), CONFIRMED), ((60.0, 70.0, 80.0, 65.0, 75.0), NOT_DECIDED)],
    )
    def test_the_promise_is_judged_too(self, torch, expected):
        assert verdict([result("jax", FAST), result("pytorch", torch)], "70 times").verdict == expected


class TestGains:
    @pytest.mark.parametrize(
        ("half", "expected"), [(FAST, CONFIRMED), (THREE_TIMES, REFUTED), (tuple(2 * s for s in WIDE), NOT_DECIDED)]
    )
    def test_bfloat16_is_judged_by_the_time_of_float32(self, half, expected):
        cells = [result("jax", TWICE), result("jax", half, dtype="bfloat16")]
        assert verdict(cells, "bfloat16").verdict == expected

    @pytest.mark.parametrize(("batch", "expected"), [(FAST, CONFIRMED), (THREE_TIMES, REFUTED)])
    def test_batches_are_judged_by_the_time_of_one_window_after_the_other(self, batch, expected):
        cells = [result("jax", TWICE), result("jax", batch, batch=16, mode="batched")]
        assert verdict(cells, "batches").verdict == expected

    def test_engines_that_disagree_decide_nothing_and_each_is_told(self):
        cells = [result("jax", TWICE), result("jax", FAST, dtype="bfloat16")]
        cells += [result("pytorch", FAST), result("pytorch", TWICE, dtype="bfloat16")]
        found = verdict(cells, "bfloat16")
        assert found.verdict == NOT_DECIDED
        assert "jax 2 [2, 2] times as fast (1 cell); pytorch 0.5 [0.5, 0.5] times as fast (1 cell)" in found.reason
