"""Ratios of times paired by seed: against scipy's signed-rank test, by hand, and by how often the interval is right."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from leaderboard.records.record import Record
from leaderboard.statistics.paired_ratio import against_scratch, critical_rank, paired_ratio, ratio_table
from tests.helpers.leaderboard.records import make_record

INF = math.inf


def test_the_interval_holds_what_the_signed_rank_test_does_not_reject() -> None:
    """Just inside of its ends scipy's exact p value is above 0.05, and just outside below."""
    generator = np.random.default_rng(0)
    for n in (6, 8, 13):
        ratios = np.exp(generator.normal(0.3, 0.5, n))
        found = paired_ratio([(r, r) for r in ratios])
        assert found.low is not None and found.high is not None and found.estimate is not None
        assert found.low < found.estimate < found.high
        for end, inwards in ((found.low, 1), (found.high, -1)):
            p_values = [
                wilcoxon(np.log(ratios / (end * math.exp(side * inwards * 1e-9))), method="exact").pvalue
                for side in (1, -1)
            ]
            assert p_values[0] > 0.05 > p_values[1] - 1e-12
        walsh = [math.sqrt(a * b) for i, a in enumerate(ratios) for b in ratios[i:]]
        assert found.estimate == pytest.approx(np.exp(np.median(np.log(walsh))))


@pytest.mark.parametrize(("n", "rank"), [(1, None), (5, None), (6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (15, 25)])
def test_critical_ranks_are_those_of_the_tables(n: int, rank: int | None) -> None:
    """Two-sided 5 % of the signed-rank test, as in any table of it."""
    assert critical_rank(n, 0.95) == rank


def test_few_pairs_have_an_estimate_and_no_interval() -> None:
    found = paired_ratio([(0.5, 0.5), (2.0, 2.0), (1.0, 1.0)])
    assert (found.estimate, found.low, found.high, found.n, found.verdict) == (1.0, None, None, 3, "open")


def test_a_time_beyond_the_budget_bounds_from_one_side() -> None:
    known = [0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4]
    found = paired_ratio([*((r, r) for r in known), (1.0, INF)])
    whole = paired_ratio([*((r, r) for r in known), (7.0, 7.0)])
    least = paired_ratio([*((r, r) for r in known), (1.0, 1.0)])
    assert found.estimate is None and found.least == least.estimate and found.low == least.low
    assert found.least is not None and found.most is not None and whole.estimate is not None
    assert found.least <= whole.estimate <= found.most
    assert found.low is not None and whole.low is not None and found.low <= whole.low
    far = paired_ratio([*((r, r) for r in known), (3.0, INF)])  # beyond whatever the others leave open
    assert far.estimate == whole.estimate and far.high is None
    nothing = paired_ratio([(0.0, INF)] * 8)
    assert (nothing.least, nothing.most, nothing.low, nothing.high) == (None, None, None, None)
    slow = paired_ratio([(2.0, INF)] * 8)
    assert slow.verdict == "slower" and slow.low == pytest.approx(2.0) and slow.high is None
    fast = paired_ratio([(0.0, 0.5)] * 8)
    assert fast.verdict == "faster" and fast.high == pytest.approx(0.5) and fast.low is None


@pytest.mark.slow
@pytest.mark.parametrize("budget", [INF, 1.5])
def test_the_interval_holds_the_ratio_in_19_of_20(budget: float) -> None:
    """2,000 experiments with 8 pairs whose ratio is 1.3, also where a quarter of the times lie beyond the budget."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        scratch, noise = np.exp(generator.normal(0, 0.2, 8)), np.exp(generator.normal(0, 0.3, 8))
        times = 1.3 * scratch * noise
        pairs = [(min(t, budget) / s, (t if t <= budget else INF) / s) for t, s in zip(times, scratch, strict=True)]
        found = paired_ratio(pairs)
        held += (found.low or 0) <= 1.3 <= (INF if found.high is None else found.high)
    assert held / 2000 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)
    if budget == INF:
        assert held / 2000 <= 0.975 + 3 * math.sqrt(0.05 * 0.95 / 2000)  # 247 of 256 and no more: not merely wide


@pytest.mark.parametrize("pairs", [[], [(1.0, 0.5)], [(math.nan, 1.0)], [(0.0, 0.0)], [(INF, INF)], [(-1.0, 1.0)]])
def test_what_is_no_ratio_is_refused(pairs: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="ratio"):
        paired_ratio(pairs)


STAGE = {"source": "ab" * 32, "step": 10, "tokens": 81_920, "parts": ["attention", "mlp"], "permuted": False}


def run_of(seed: int, step: int | None, stage: dict[str, Any] | None = None, **changes: Any) -> Record:
    """A run of 8,192 tokens per step and 1,000 steps at most that solved its task at a step, or never did."""
    hits = {
        "rows_50": {"step": step, "previous_step": None if step is None else step - 50},
        "rows_100": {"step": step, "previous_step": None if step is None else step - 50},
    }
    change = {"attention_bias": None, "fork": None, "first_stage": stage} if stage else None
    return make_record(
        **{
            "seeds": {"task_seed": seed, "init_seed": seed, "data_seed": seed},
            "hits": hits,
            "status": "censored" if step is None else "solved",
            "steps": 1000 if step is None else step,
            "final": None,
            "intervention": change,
            **changes,
        }
    )


def test_arms_are_paired_by_seed_with_and_without_the_first_stage() -> None:
    scratch = [run_of(seed, 100 * (seed + 1)) for seed in range(8)]
    arm = [run_of(seed, 50 * (seed + 1), STAGE) for seed in reversed(range(8))]
    found = against_scratch(scratch, arm)
    assert found.seeds == tuple(range(8)) and (found.solved, found.solved_scratch) == (8, 8)
    assert found.steps.estimate == pytest.approx(0.5) and found.steps.verdict == "faster"
    tokens = [(50 * (s + 1) * 8192 + 81_920) / (100 * (s + 1) * 8192) for s in range(8)]
    assert found.tokens == paired_ratio([(r, r) for r in tokens])
    assert found.tokens.estimate == pytest.approx(0.5262, abs=1e-3)


def test_runs_that_never_solve_and_those_that_were_cut_short() -> None:
    scratch = [run_of(0, 200), run_of(1, None), run_of(2, 500), run_of(3, 300)]
    cut = run_of(3, None, STAGE, status="interrupted", error="interrupted", steps=100)
    again = run_of(0, 950, STAGE, started_at="2026-11-01T12:00:01Z")
    arm = [run_of(0, None, STAGE), run_of(1, 400, STAGE), run_of(2, None, STAGE), cut, again]
    found = against_scratch(scratch, arm)
    assert found.seeds == (0, 1, 2) and (found.solved, found.solved_scratch) == (1, 2)
    expected = paired_ratio([(1000 / 200, INF), (0.0, 400 / 1000), (1000 / 500, INF)])
    assert found.steps == expected
    assert expected.estimate is None


def test_a_table_of_cells() -> None:
    scratch, arm = [run_of(0, 200)], [run_of(0, 100, STAGE)]
    table = ratio_table({"a": {"attention": arm, "scratch": scratch}, "b": {"scratch": scratch}})
    assert list(table) == ["a", "b"] and table["b"] == {} and list(table["a"]) == ["attention"]
    assert table["a"]["attention"].steps.estimate == pytest.approx(0.5)
    with pytest.raises(ValueError, match="^a: has no runs from scratch$"):
        ratio_table({"a": {"attention": arm}})


@pytest.mark.parametrize(
    ("scratch", "arm", "line"),
    [
        ([run_of(0, 200)], [run_of(1, 200, STAGE)], "no seed has an outcome both from scratch and after a first stage"),
        (
            [run_of(0, 200)],
            [run_of(0, 200, STAGE, **{"optimizer.lr": 0.01})],
            "the runs differ in optimizer.lr: 0.001 and 0.01",
        ),
        ([run_of(0, 200, STAGE)], [run_of(0, 200, STAGE)], "a run from scratch is a run that begins with attention"),
        ([run_of(0, 200)], [run_of(0, 200)], "must begin with the same parts of first stages of the same length"),
        (
            [run_of(0, 200), run_of(1, 200)],
            [run_of(0, 200, STAGE), run_of(1, 200, STAGE | {"permuted": True})],
            "must begin with the same parts of first stages of the same length",
        ),
    ],
)
def test_what_cannot_be_compared(scratch: list[Record], arm: list[Record], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        against_scratch(scratch, arm)
    with pytest.raises(ValueError, match=f"^cell, x: .*{line}"):
        ratio_table({"cell": {"scratch": scratch, "x": arm}})
