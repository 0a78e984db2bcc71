"""Win rates against an oracle that walks over pairs, SciPy, and cases worked by hand; p values against intervals."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from leaderboard.statistics.win_rate import (
    CellRuns,
    CellWinRate,
    Finish,
    ScoreTest,
    TaskWinRate,
    cell_win_rate,
    overall,
    task_win_rate,
    wins,
)
from tests.oracles import win_rate as oracle

INF = math.inf


def runs(random: np.random.Generator, n: int, n_steps: int, n_levels: int, solving: float, late: float) -> list[Finish]:
    """Runs with few steps and levels of progress tie often; some diverge."""
    return [
        (float(random.integers(1, n_steps + 1) * late), 0.0)
        if random.random() < solving
        else (None, -INF if random.random() < 0.1 else float(random.integers(n_levels)))
        for _ in range(n)
    ]


def _tasks() -> Iterator[list[CellRuns]]:
    """Random tasks of 1 to 8 cells; then arms that are apart, tie everywhere, or have the fewest runs."""
    random = np.random.default_rng(19)
    for place in range(60):
        n_steps, n_levels = (int(10 ** random.uniform(0.3, 4)) for _ in range(2))
        m, n = (int(random.integers(2, 21)) for _ in range(2))
        solving = random.random(2) if place % 3 else (1.0, 1.0)
        yield [
            CellRuns(
                runs(random, m, n_steps, n_levels, solving[0], 1.0),
                runs(random, n, n_steps, n_levels, solving[1], random.choice([1.0, 1.5, 100.0])),
            )
            for _ in range(int(random.choice([1, 1, 4, 8])))
        ]
    for m, n in ((2, 2), (5, 20), (10, 10)):
        fast, slow = [(float(i), 0.0) for i in range(m)], [(100.0 + i, 0.0) for i in range(n)]
        yield [CellRuns(fast, slow)]
        yield [CellRuns(slow, fast)] * 4
        yield [CellRuns(fast, slow), CellRuns(slow, fast)]
        yield [CellRuns([(None, 0.0)] * m, [(None, 0.0)] * n)] * 2


TASKS = list(_tasks())
tasks = pytest.mark.parametrize("cells", TASKS, ids=range(len(TASKS)))


@cache
def both_of(place: int) -> tuple[ScoreTest, ScoreTest]:
    """The test of a task, and that of its first cell alone."""
    return task_win_rate(TASKS[place]), cell_win_rate(TASKS[place][0], 199)


@pytest.mark.parametrize(
    ("first", "second", "win"),
    [
        ((10, 0), (20, 0), 1),  # solved sooner
        ((10, 0), (10, 5), 0.5),  # how far it has got says nothing of a run that solved
        ((20, 0), (None, 99), 1),
        ((0, 0), (None, INF), 1),
        ((None, 2), (None, 1), 1),  # further
        ((None, 0), (None, 0), 0.5),
        ((None, 0.0), (None, -0.0), 0.5),
        ((None, -3), (None, -INF), 1),  # diverged
        ((None, -INF), (None, -INF), 0.5),
    ],
)
def test_order(first: Finish, second: Finish, win: float) -> None:
    assert wins(CellRuns([first], [second])).tolist() == [[win]]
    assert wins(CellRuns([second], [first])).tolist() == [[1 - win]]


@tasks
def test_task_against_the_oracle(cells: list[CellRuns]) -> None:
    ours = task_win_rate(cells)
    estimate, n_eff, df = oracle.task([(cell.entry, cell.reference) for cell in cells])
    assert (ours.estimate, ours.n_eff, ours.df) == pytest.approx((estimate, n_eff, df), rel=1e-9)
    for null in (0.03, 0.5, 0.8):
        assert ours.p(null) == pytest.approx(2 * stats.t.sf(oracle.statistic(estimate, n_eff, null), df), rel=1e-7)


@tasks
def test_interval_against_a_search_for_its_ends(cells: list[CellRuns]) -> None:
    """The ends are the null values at which SciPy's p value is 1 - level: no formula of the interval is used."""
    ours = task_win_rate(cells)

    def excess(null: float) -> float:
        return 2 * float(stats.t.sf(oracle.statistic(ours.estimate, ours.n_eff, null), ours.df)) - 0.1

    low = 0.0 if ours.estimate == 0 else brentq(excess, 1e-9, ours.estimate - 1e-12)
    high = 1.0 if ours.estimate == 1 else brentq(excess, ours.estimate + 1e-12, 1 - 1e-9)
    assert ours.interval(0.9) == pytest.approx((low, high), abs=1e-7)


@pytest.mark.parametrize("place", range(len(TASKS)))
def test_p_value_and_interval_never_contradict_each_other(place: int) -> None:
    """A null value is outside of the interval of level 1 - a exactly where its p value is below a; ends included."""
    random = np.random.default_rng(place)
    for test in both_of(place):
        nulls = [0.0, 0.5, 1.0, test.estimate, *random.random(20), *random.beta(0.1, 0.1, 20)]
        ps = [test.p(null) for null in nulls]
        for level in (0.5, 0.9, 0.95, 0.99, 0.999, 1 - 1e-6, *random.random(5)):
            low, high = test.interval(level)
            assert 0 <= low <= test.estimate <= high <= 1
            assert low < high or level < 0.5
            for drawn, (null, p) in enumerate(zip(nulls, ps, strict=True), -4):
                if drawn >= 0 and min(abs(null - low), abs(null - high)) < 1e-12:
                    continue  # drawn so near to an end that rounding decides
                assert (p < 1 - level - 1e-12) == (not low <= null <= high)


@pytest.mark.parametrize("place", range(len(TASKS)))
def test_p_value_at_the_ends_of_the_interval(place: int) -> None:
    for level in (0.8, 0.95):
        test = both_of(place)[0]
        for end in test.interval(level):
            if 0 < end < 1:
                assert test.p(end) == pytest.approx(1 - level, rel=1e-6)


@pytest.mark.parametrize("place", range(0, len(TASKS), 3))
def test_a_higher_level_has_a_wider_interval(place: int) -> None:
    for test in both_of(place):
        intervals = [test.interval(level) for level in (0.5, 0.8, 0.95, 0.99, 0.9999)]
        assert intervals == sorted(intervals, key=lambda each: each[0] - each[1], reverse=True)
        assert [low for low, _ in intervals] == sorted((low for low, _ in intervals), reverse=True)


@tasks
def test_exchanged_arms_and_another_order_of_runs(cells: list[CellRuns]) -> None:
    other = [CellRuns(cell.reference[::-1], cell.entry[::-1]) for cell in cells]
    for ours, mirrored in (
        (task_win_rate(cells), task_win_rate(other)),
        (cell_win_rate(cells[0], 99), cell_win_rate(other[0], 99)),
    ):
        assert (mirrored.estimate, mirrored.n_eff) == pytest.approx((1 - ours.estimate, ours.n_eff), rel=1e-12)
        assert (mirrored.p(), mirrored.p(0.25)) == pytest.approx((ours.p(), ours.p(0.75)), rel=1e-9)


@pytest.mark.parametrize("place", range(0, 60, 2))
def test_win_rate_is_mann_and_whitneys_u(place: int) -> None:
    cell = TASKS[place][0]
    # Any numbers in the same order: a run that did not solve comes after all that did, the less far the later.
    entry, reference = (
        [step if step is not None else 1e9 - max(progress, -1.0) for step, progress in arm]
        for arm in (cell.entry, cell.reference)
    )
    u = stats.mannwhitneyu(reference, entry).statistic
    assert cell_win_rate(cell, 9).estimate == pytest.approx(u / (len(entry) * len(reference)), rel=1e-12)


def test_large_arms_are_brunner_and_munzels() -> None:
    """With many runs the additional ones vanish, and what is left near 1/2 is the test of Brunner and Munzel (2000)."""
    random = np.random.default_rng(3)
    entry, reference = random.normal(10, 1, 400), random.normal(10.1, 3, 700)
    ours = task_win_rate([CellRuns([(x, 0.0) for x in entry], [(x, 0.0) for x in reference])])
    theirs = stats.brunnermunzel(entry, reference)
    assert 0.05 < theirs.pvalue < 0.5
    assert ours.p() == pytest.approx(theirs.pvalue, rel=0.02)


def test_task_by_hand() -> None:
    """Two runs ahead of two. With the additional runs each arm weighs 2.5 and wins (4 + 1 + 1/8) / 6.25 = 0.82.

    Placements: 2.25 / 2.5 = 0.9 of the two runs, 0.125 / 2.5 = 0.05 and 2.375 / 2.5 = 0.95 of the additional ones.
    Variance of either arm: (2 * 0.08^2 + 0.77^2 / 4 + 0.13^2 / 4) / (2.5 * 1.5) = 0.165250 / 3.75 = 0.0440667, above
    the least, 1 / 24. Coin tosses: 0.82 * 0.18 / 0.0881333 = 1.674735; degrees of freedom 4 / (1 + 1) = 2.
    Statistic of 1/2: its root, 1.294115; the tail with two degrees is 1 - 1.294115 / sqrt(2 + 1.674735) = 0.324914.
    At 95 % the quantile is 4.302653, and the interval begins at 1.674735 / (1.674735 + 4.302653^2) = 0.082959.
    """
    ours = task_win_rate([CellRuns([(1, 0), (2, 0)], [(3, 0), (None, 7)])])
    assert (ours.estimate, ours.decided, ours.df) == pytest.approx((1, 1, 2), rel=1e-12)
    assert ours.n_eff == pytest.approx(1.674735, rel=1e-6)
    assert ours.p() == pytest.approx(0.324914, rel=1e-5)
    assert ours.interval() == pytest.approx((0.082959, 1), rel=1e-4)


def test_cells_by_hand() -> None:
    """Ahead in one cell, behind in another, and a tie in four pairs of a third: (1 + 0 + 1/2) / 3, decided 2 / 3."""
    fast, slow = [(1.0, 0.0), (2.0, 0.0)], [(3.0, 0.0), (4.0, 0.0)]
    ours = task_win_rate([CellRuns(fast, slow), CellRuns(slow, fast), CellRuns([(None, 3)] * 2, [(None, 3)] * 2)])
    assert (ours.estimate, ours.decided, ours.p()) == pytest.approx((0.5, 2 / 3, 1))


def separated(m: int, n: int) -> CellRuns:
    return CellRuns([(i, 0) for i in range(m)], [(m + i, 0) for i in range(n)])


@pytest.mark.parametrize(
    ("m", "n", "by_t", "by_permutation"), [(10, 20, 0.0044, 0.0005), (10, 10, 0.0059, 0.0010), (5, 20, 0.073, 0.0164)]
)
def test_p_value_of_separated_arms(m: int, n: int, by_t: float, by_permutation: float) -> None:
    """By t to two digits; by permutation against 600,000 of them, within four standard errors of 9,999."""
    assert task_win_rate([separated(m, n)]).p() == pytest.approx(by_t, rel=0.012)
    error = (by_permutation / 10_000) ** 0.5
    assert abs(cell_win_rate(separated(m, n)).p() - by_permutation) < 4 * error


SMALL = [
    separated(4, 5),
    CellRuns([(1, 0), (2, 0), (5, 0)], [(3, 0), (4, 0), (6, 0), (7, 0), (None, 0)]),
    CellRuns([(1, 0), (1, 0), (None, 1)], [(1, 0), (3, 0), (None, 0), (None, 1)]),
    CellRuns([(1, 0), (None, 0), (None, 0), (None, 0)], [(None, 0)] * 5),
    CellRuns([(None, 0)] * 3, [(None, 0)] * 4),
    CellRuns([(1, 0)], [(2, 0), (3, 0), (4, 0)]),
]


@pytest.mark.parametrize("cell", SMALL, ids=range(len(SMALL)))
@pytest.mark.parametrize("null", [0.5, 0.2, 0.9])
def test_cell_against_all_permutations(cell: CellRuns, null: float) -> None:
    assert cell_win_rate(cell).p(null) == pytest.approx(oracle.permutation_p(cell.entry, cell.reference, null))


def test_random_permutations_against_all() -> None:
    """All are used where they are few enough; random ones give a p value within four standard errors."""
    cell = CellRuns([(1, 0), (2, 0), (3, 0), (5, 0), (8, 0)], [(4, 0), (6, 0), (7, 0), (9, 0), (10, 0)])
    exact = cell_win_rate(cell).p()
    assert [len(cell_win_rate(cell, n).null_K) for n in (9_999, 252, 251, 100)] == [252, 252, 252, 101]
    assert exact == cell_win_rate(cell, 252).p() != cell_win_rate(cell, 251).p()
    assert abs(cell_win_rate(cell, 251).p() - exact) < 4 * (exact * (1 - exact) / 251) ** 0.5


def test_arms_that_learn_nothing_tie() -> None:
    cell = CellRuns([(None, 0.0)] * 10, [(None, 0.0)] * 20)
    for found in (cell_win_rate(cell), task_win_rate([cell] * 4)):
        assert (found.estimate, found.decided, found.p()) == (0.5, 0, 1)
        low, high = found.interval()
        assert high - low > 0.05  # that none has solved yet bounds how many would


def test_a_level_beyond_the_resolution_bounds_nothing() -> None:
    """200 statistics have no p value below 1 / 200."""
    found = cell_win_rate(separated(20, 20), 199)
    assert found.p() == found.p(0.0) == 1 / 200
    assert found.interval(0.99)[0] > 0.5
    assert found.interval(0.9951) == found.interval(1 - 1e-15) == (0, 1)


def test_one_run_bounds_nothing() -> None:
    """Its spread is unknown, in whichever cell it is."""
    for cells in ([separated(1, 20)], [separated(20, 1)], [separated(20, 20), separated(1, 20)]):
        found = task_win_rate(cells)
        assert (found.estimate, found.df, found.p(), found.p(0.01), found.interval()) == (1, 0, 1, 1, (0, 1))


def test_ten_seeds_of_either_arm_support_a_claim_on_a_cell() -> None:
    sizes = [(10, 10), (9, 20), (20, 9), (20, 20)]
    assert [cell_win_rate(separated(*size), 9).supports_claim for size in sizes] == [True, False, False, True]


def test_overall_is_the_mean_of_the_tasks() -> None:
    half, all_ahead = task_win_rate([SMALL[4]]), task_win_rate([SMALL[0]])
    assert overall([half, all_ahead, all_ahead]) == pytest.approx(2.5 / 3)


def test_results_are_values() -> None:
    """Equal runs have equal results, which can be stored by a key."""
    assert {cell_win_rate(SMALL[0]), cell_win_rate(SMALL[0])} == {cell_win_rate(SMALL[0])}
    assert isinstance(task_win_rate(SMALL[:2]), TaskWinRate) and isinstance(cell_win_rate(SMALL[1]), CellWinRate)


@pytest.mark.parametrize(
    ("entry", "reference", "message"),
    [
        ([], [(1, 0)], "the entry has no run in the cell"),
        ([(1, 0)], [], "the reference has no run in the cell"),
        ([(1, 0)], [(INF, 0)], "a step of the reference is inf; it must be finite, or None where unsolved"),
        ([(math.nan, 0)], [(1, 0)], "a step of the entry is nan"),
        ([(1, 0)], [(None, math.nan)], "a progress of the reference is NaN; runs are ordered by it"),
    ],
)
def test_runs_that_have_no_order(entry: list[Any], reference: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        CellRuns(entry, reference)


def test_questions_that_have_no_answer() -> None:
    with pytest.raises(ValueError, match="^needs a cell that both arms have runs in"):
        task_win_rate([])
    with pytest.raises(ValueError, match="^needs a task"):
        overall([])
    for found in both_of(0):
        with pytest.raises(ValueError, match="^a win rate lies between 0 and 1, got 1.5"):
            found.p(1.5)
        with pytest.raises(ValueError, match="^level must lie between 0 and 1, got 1"):
            found.interval(1)
