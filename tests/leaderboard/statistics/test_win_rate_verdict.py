"""Verdicts on planted arms: equal, apart, of cells that contradict each other, and of two that learn nothing."""

from collections.abc import Sequence

import numpy as np
import pytest

from leaderboard.statistics.win_rate import CellRuns, Finish
from leaderboard.statistics.win_rate_verdict import WinRateVerdict, judge

FAST = [(float(100 + i), 0.0) for i in range(20)]
SLOW = [(float(200 + i), 0.0) for i in range(20)]
STUCK: list[Finish] = [(None, 0.0)] * 20


def against(reference: Sequence[Finish], *entries: Sequence[Finish]) -> WinRateVerdict:
    """One cell for each arm of the entry, all with the same runs of the reference."""
    return judge({f"cell{place}": CellRuns(entry, reference) for place, entry in enumerate(entries)})


def spread(seed: int, n: int = 20, median: float = 150.0, sigma: float = 0.3) -> list[Finish]:
    return [(step, 0.0) for step in np.random.default_rng(seed).lognormal(np.log(median), sigma, n).tolist()]


@pytest.mark.parametrize("n", [5, 10, 20])
def test_apart(n: int) -> None:
    """Five seeds decide on four cells together, and on none alone."""
    for entry, reference, kind in ((FAST, SLOW, "better"), (SLOW, FAST, "worse"), (FAST, STUCK, "better")):
        verdict = against(reference, *[entry[:n]] * 4)
        assert verdict.kind == kind
        assert verdict.reason.startswith("equal arms are rejected, p = ")
        assert {cell.kind for cell in verdict.cells.values()} == {kind if n >= 10 else "needs-seeds"}
        assert {cell.against for cell in verdict.cells.values()} == {n >= 10}


def test_identical() -> None:
    """Every second of the reference's runs: as equal as can be."""
    verdict = against(FAST, *[FAST[::2]] * 4)
    assert verdict.kind == "same"
    assert verdict.win_rate.estimate == pytest.approx(0.525)
    low, high = verdict.win_rate.interval(0.9)
    assert verdict.reason == f"the 90 % interval is {low:.2f} to {high:.2f}"
    assert {cell.reason for cell in verdict.cells.values()} == {"undecided, p = 1"}


def test_one_cell_is_too_little_to_be_the_same() -> None:
    """The interval reaches too far on the one side, or, with the arms exchanged, on the other."""
    for verdict in (against(FAST, FAST[::2]), against(FAST[::2], FAST)):
        low, high = verdict.win_rate.interval(0.9)
        assert (low < 0.3) != (high > 0.7)
        assert verdict.kind == "needs-seeds"
        p = verdict.win_rate.p()
        assert verdict.reason == f"undecided, p = {p:.2g}; the 90 % interval is {low:.2f} to {high:.2f}"


def test_five_seeds_are_too_few_to_be_the_same() -> None:
    """Their cells could be opposite, and nothing would show it."""
    verdict = against(FAST, *[FAST[2::4]] * 8)
    assert verdict.kind == "needs-seeds"
    assert verdict.reason == "5 seeds in a cell, 10 are needed to call arms the same"
    opposite = against([*FAST, *SLOW], FAST[:5], [(999.0 + i, 0.0) for i in range(5)])
    assert opposite.kind == "needs-seeds"


def test_four_seeds_decide_nothing() -> None:
    verdict = against(SLOW, *[FAST[:4]] * 8)
    assert (verdict.kind, verdict.reason) == ("needs-seeds", "4 seeds in a cell, 5 are needed")
    assert verdict.win_rate.p() < 0.01
    assert verdict.cells["cell0"].reason == "4 seeds, 10 are needed"
    reversed_arms = judge({"a": CellRuns(FAST, SLOW[:4]), "b": CellRuns(FAST, SLOW)})
    assert reversed_arms.kind == "needs-seeds"


def test_opposite_cells_are_mixed() -> None:
    middle = [(step + 50.0, 0.0) for step, _ in FAST]
    verdict = against(middle, FAST[:10], SLOW[:10], FAST[:10], SLOW[:10])
    assert (verdict.kind, verdict.win_rate.estimate) == ("mixed", 0.5)
    assert verdict.reason == "better in cell0, cell2; worse in cell1, cell3"
    assert [cell.kind for cell in verdict.cells.values()] == ["better", "worse", "better", "worse"]
    low, high = verdict.win_rate.interval(0.9)
    assert 0.3 < low < high < 0.7  # without a look at the cells they would have been the same


def test_one_cell_against_the_others_is_mixed() -> None:
    equal = [FAST[::2]] * 7
    verdict = against(FAST, *equal, SLOW[:10])
    assert (verdict.kind, verdict.reason) == ("mixed", "worse in cell7")
    assert [cell.against for cell in verdict.cells.values()] == [False] * 7 + [True]


def test_opposite_cells_are_mixed_even_if_the_interval_is_wide() -> None:
    """More seeds would narrow it, and would not make the cells agree."""
    cells = {
        "a": CellRuns(spread(516, 10, 120.0), spread(5516, 10, 150.0)),
        "b": CellRuns(spread(9516, 10, 180.0), spread(12516, 10, 150.0)),
    }
    verdict = judge(cells)
    assert verdict.win_rate.interval(0.9)[1] > 0.7
    assert verdict.win_rate.p() > 0.1
    assert (verdict.kind, verdict.reason) == ("mixed", "better in a; worse in b")


def test_a_claim_is_made_although_a_cell_is_against_it() -> None:
    """Ahead on the whole is true; that one cell says otherwise stands beside it."""
    middle = [(step + 50.0, 0.0) for step, _ in FAST]
    verdict = against(middle, *[FAST[:10]] * 7, SLOW[:10])
    assert verdict.kind == "better"
    assert verdict.cells["cell7"].kind == "worse"


@pytest.mark.parametrize("solving", [0, 1, 4])
def test_arms_that_learn_nothing_are_never_the_same(solving: int) -> None:
    """However many cells and seeds: they tie. Also if a few runs of both solve, as long as most pairs tie."""
    arm = [*FAST[:solving], *STUCK[solving:]]
    verdict = against(arm, *[arm] * 8)
    assert verdict.kind == "needs-seeds"
    assert verdict.win_rate.p() == 1
    assert "% of the pairs tie; the 90 % interval is 0.4" in verdict.reason
    assert all(cell.win_rate.p() == 1 for cell in verdict.cells.values())


def test_progress_decides_where_nobody_solves() -> None:
    levels: list[Finish] = [(None, float(i % 5)) for i in range(20)]
    further: list[Finish] = [(None, progress + 3) for _, progress in levels]
    assert against(levels, *[further] * 4).kind == "better"
    assert against(levels, *[levels] * 4).kind == "same"


def test_holm_takes_a_claim_on_one_cell_back() -> None:
    """p between 0.01 / 4 and 0.01 in the one cell that differs."""
    for seed in range(100):
        cells = {f"cell{place}": CellRuns(FAST[::2], FAST) for place in range(1, 4)}
        cells["cell0"] = CellRuns(spread(seed, 10, 210.0), spread(1000 + seed))
        cell = judge(cells).cells["cell0"]
        if 0.0025 < (p := cell.win_rate.p()) < 0.01:
            assert judge({"cell0": cells["cell0"]}).cells["cell0"].kind == "worse"
            assert cell.p_holm == pytest.approx(4 * p)
            assert (cell.kind, cell.against) == ("needs-seeds", 4 * p < 0.05)
            return
    pytest.fail("no draw had such a p value")


def test_the_order_of_cells_and_runs_changes_nothing() -> None:
    cells = {f"cell{k}": CellRuns(spread(k, 10, 180.0), spread(100 + k)) for k in range(4)}
    other = {
        name: CellRuns(cell.entry[::-1], cell.reference[::-1]) for name, cell in sorted(cells.items(), reverse=True)
    }
    ours, theirs = judge(cells), judge(other)
    assert ours.kind == theirs.kind
    assert ours.win_rate.p() == pytest.approx(theirs.win_rate.p(), rel=1e-12)
    assert {name: cell.p_holm for name, cell in ours.cells.items()} == {
        name: cell.p_holm for name, cell in theirs.cells.items()
    }


def test_no_cell() -> None:
    with pytest.raises(ValueError, match="^needs a cell that both arms have runs in"):
        judge({})
