"""The board: what is missing stays missing, ranks are bands, and the order of reading changes nothing."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.board.aggregate import bands, build_board
from leaderboard.board.standings import Standing, SuiteBoard
from leaderboard.entries.reading import Entry, Results, RunRecord
from leaderboard.records.record import Record
from leaderboard.statistics.comparison import outcomes
from leaderboard.statistics.head_to_head import is_ahead
from leaderboard.statistics.time_ratio import time_ratio
from leaderboard.statistics.verdict import compare
from tests.helpers.leaderboard.boards import CELLS, suite_records
from tests.helpers.leaderboard.records import run_of


def entry(
    name: str, seeds: int, slowness: float = 1.0, stream: int = 0, drop: Sequence[str] = (), **changes: Any
) -> Entry:
    """An entry with records in all of CELLS but those dropped."""
    rng = np.random.default_rng([stream, len(name), *map(ord, name)])
    return as_entry(name, suite_records(name, CELLS, range(seeds), rng, slowness=slowness, **changes), drop)


def as_entry(name: str, records: Sequence[Record], drop: Sequence[str] = ()) -> Entry:
    cells: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.cell not in drop:
            place = f"{record.cell}/seed{record.seeds.data_seed}"
            cells.setdefault(record.cell or "", []).append(RunRecord(record, Path(name) / place))
    return Entry("lite", name, None, False, {cell: tuple(runs) for cell, runs in cells.items()})


def suite(*entries: Entry) -> SuiteBoard:
    return build_board(Results(entries, (), ())).suites[0]


def by_name(board: SuiteBoard) -> dict[str, Standing]:
    return {standing.name: standing for standing in board.standings}


REFERENCE = entry("transformer", 20)


@pytest.mark.slow
def test_headline_ranks_and_order() -> None:
    board = suite(REFERENCE, entry("slow", 10, 4.0), entry("fast", 10, 0.25), entry("alike", 10, 1.0))
    found = by_name(board)
    assert [standing.name for standing in board.standings][0] == "fast"
    assert [standing.name for standing in board.standings][-1] == "slow"
    assert {name: standing.rank for name, standing in found.items()} == {
        "fast": 1,
        "alike": 2,
        "transformer": 2,
        "slow": 4,
    }
    assert found["transformer"].against is None and found["transformer"].is_reference
    assert found["transformer"].overall == 0.5
    entries = {each.name: each for each in (entry("slow", 10, 4.0), entry("fast", 10, 0.25), entry("alike", 10, 1.0))}
    for name, kinds in (("slow", {"worse"}), ("fast", {"better"}), ("alike", {"same", "needs-seeds"})):
        verdict = found[name].task("lm")
        assert verdict is not None and verdict.kind in kinds
        # The headline is the same number as the gate's.
        gate = compare(REFERENCE.records(), entries[name].records()).found
        assert gate is not None and gate.tasks["lm"] == verdict and found[name].overall == gate.overall


def test_a_result_by_hand() -> None:
    """Solved at 300 and 500, one unsolved at the budget of 1,000, one interrupted, one seed twice."""
    records = [
        run_of("solved", 0, 300, cell="a"),
        run_of("solved", 1, 500, cell="a"),
        run_of("censored", 2, cell="a"),
        run_of("interrupted", 3, 100, cell="a"),
    ]
    later = {"started_at": records[0].ended_at, "ended_at": records[0].ended_at}
    again = run_of("solved", 0, 50, cell="a", **later)
    result = suite(as_entry("transformer", [again, *records])).standings[0].results["a"]
    assert result is not None
    assert (result.n, result.n_solved) == (3, 2)
    # The mean of three, as an area under a curve of thirds: those are rounded.
    assert result.restricted_mean_step == pytest.approx(600, rel=1e-12)
    assert result.median.step == 500
    assert (round(result.solved_low or 0, 3), round(result.solved_high or 0, 3)) == (0.208, 0.939)
    assert result.statuses == {"censored": 1, "interrupted": 1, "solved": 2}
    assert [record.seeds.data_seed for record in result.records] == [0, 1, 2, 3]
    assert [folder.name for folder in result.folders] == ["seed0", "seed1", "seed2", "seed3"]
    assert (result.parameters, result.tokens_per_s) == (202754, {"cpu": 65000.0})
    assert (result.first_date, result.last_date) == ("2026-11-01", "2026-11-01")


def test_speed_of_an_ensemble_is_not_shown_as_that_of_a_run() -> None:
    records = [run_of("solved", seed, 300, cell="a", ensemble_size=2) for seed in range(2)]
    result = suite(as_entry("transformer", records)).standings[0].results["a"]
    assert result is not None and result.tokens_per_s == {}


def test_missing_cells_stay_missing() -> None:
    """No headline, no rank, last; the cells that are there are shown and compared."""
    board = suite(REFERENCE, entry("half", 10, 0.2, drop=["lm_s8_n2"]), entry("slow", 10, 4.0))
    half = by_name(board)["half"]
    assert board.standings[-1] is half
    assert (half.missing, half.against, half.overall, half.rank) == (("lm_s8_n2",), None, None, None)
    assert half.results["lm_s8_n2"] is None
    present = half.results["lm_s16_n2"]
    assert present is not None and present.against is not None and present.rank == 1


def test_a_cell_under_another_protocol_is_missing() -> None:
    change: dict[str, Any] = {"protocol.tokens_per_step": 4096}
    records = suite_records("other", CELLS, range(10), np.random.default_rng(1), **change)
    board = suite(REFERENCE, as_entry("other", records))
    assert by_name(board)["other"].missing == tuple(cell.name for cell in board.cells)


def test_few_seeds_have_a_headline_but_no_rank() -> None:
    found = by_name(suite(REFERENCE, entry("four", 4, 0.1), entry("five", 5, 0.1)))
    assert found["four"].against is not None and (found["four"].rank, found["four"].min_seeds) == (None, 4)
    assert (found["five"].rank, found["five"].min_seeds) == (1, 5)
    results = [result for name in ("four", "five") for result in found[name].results.values() if result is not None]
    assert {result.rank for result in results} == {None}  # a claim on one cell needs ten


def test_without_a_reference_entries_are_ranked_by_restricted_means() -> None:
    board = suite(entry("slow", 10, 4.0), entry("fast", 10, 0.25))
    assert [(standing.name, standing.rank, standing.against) for standing in board.standings] == [
        ("fast", 1, None),
        ("slow", 2, None),
    ]


def test_an_entry_that_never_solves_is_last_but_ranked() -> None:
    never = as_entry(
        "never", [run_of("censored", seed, cell=cell.name, **_task(cell)) for cell in CELLS for seed in range(10)]
    )
    board = suite(REFERENCE, never, entry("slow", 10, 2.0))
    assert (board.standings[-1].name, board.standings[-1].rank) == ("never", 3)
    verdict = board.standings[-1].task("lm")
    assert verdict is not None and verdict.kind == "worse" and verdict.win_rate.estimate < 0.1


def _task(cell: Any) -> dict[str, Any]:
    return {"task.config.state_size": cell.state_size, "task.config.n_nonzero": cell.n_nonzero}


def test_ratio_of_a_cell_is_that_of_its_two_arms_where_both_solved_half() -> None:
    slow = entry("slow", 10, 4.0)
    result = by_name(suite(REFERENCE, slow))["slow"].results["lm_s8_n2"]
    first, second = outcomes(REFERENCE.records()["lm_s8_n2"]), outcomes(slow.records()["lm_s8_n2"])
    assert first is not None and second is not None and result is not None
    assert result.against is not None and result.against.ratio == time_ratio([(first, second)])
    rare = by_name(suite(REFERENCE, slow))["slow"].results["lm_s16_n4"]
    assert rare is not None and 2 * rare.n_solved < rare.n and rare.against is not None and rare.against.ratio is None


def test_cells_are_in_the_order_of_difficulty() -> None:
    assert [cell.name for cell in suite(REFERENCE).cells] == ["lm_s8_n2", "lm_s8_n4", "lm_s16_n2", "lm_s16_n4"]
    assert suite(REFERENCE).cells[0].label == "lm S=8 s=2 T=2"


def test_the_order_of_reading_changes_nothing() -> None:
    entries = [REFERENCE, entry("slow", 6, 4.0), entry("alike", 7)]
    boards = []
    for seed in range(3):
        mixer = random.Random(seed)
        shuffled = []
        for each in mixer.sample(entries, len(entries)):
            cells = {
                cell: tuple(sorted(runs, key=lambda run: run.record.seeds.data_seed))
                for cell, runs in mixer.sample(list(each.cells.items()), len(each.cells))
            }
            shuffled.append(Entry(each.suite, each.name, each.file, each.verified, cells))
        boards.append(suite(*shuffled))
    rows = [[(s.name, s.rank, s.against, tuple(s.results)) for s in board.standings] for board in boards]
    assert rows[0] == rows[1] == rows[2]


def test_another_entry_changes_no_row() -> None:
    """Except ranks: what is computed of an entry rests on it and the reference alone."""
    alone = by_name(suite(REFERENCE, entry("alike", 10)))["alike"]
    beside = by_name(suite(REFERENCE, entry("alike", 10), entry("fast", 10, 0.2)))["alike"]
    assert (alone.against, alone.min_seeds) == (beside.against, beside.min_seeds)
    for cell, result in alone.results.items():
        other = beside.results[cell]
        assert result is not None and other is not None
        assert (result.n_solved, result.median, result.against) == (other.n_solved, other.median, other.against)


def test_bands_by_hand() -> None:
    """a beats c and d, b beats d, c beats nobody: a and b share, c opens the next band with d in it."""
    wins = {("a", "c"), ("a", "d"), ("b", "d"), ("c", "e")}
    assert bands("abcde", lambda first, second: (first, second) in wins) == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}
    assert bands("", lambda first, second: True) == {}


def test_one_is_ahead_of_another_where_the_verdict_says_better() -> None:
    """On both sides of its level, in both directions, and with too few seeds."""
    seen = []
    for place in range(24):
        first, second = entry("a", 6, 1.0, place).records(), entry("b", 6, 0.5 + place / 8, place).records()
        said = compare(second, first)
        assert said.found is not None
        assert is_ahead(first, second) == (said.kind == "better")
        assert is_ahead(second, first) == (said.kind == "regressed")
        fewer = {cell: records[:4] for cell, records in first.items()}
        assert not is_ahead(fewer, second)
        seen.append((said.kind, 0.01 < said.found.tasks["lm"].win_rate.p() < 0.03))
    assert ("better", False) in seen and any(close for _, close in seen)


def test_who_is_better_on_one_task_and_worse_on_another_is_ahead_of_nobody() -> None:
    def arms(lm: float, copy: float, stream: int) -> dict[str, list[Record]]:
        other = entry("x", 10, copy, stream, **{"task.name": "copy"}).records()
        return {**entry("x", 10, lm, stream + 1).records(), **{f"c{cell}": runs for cell, runs in other.items()}}

    even, uneven, fast = arms(1, 1, 0), arms(0.2, 5, 10), arms(1, 0.2, 20)
    assert not is_ahead(uneven, even) and not is_ahead(even, uneven)
    assert is_ahead(fast, even) and not is_ahead(even, fast)


def test_broken_results_are_refused() -> None:
    with pytest.raises(ValueError, match="^first\nsecond$"):
        build_board(Results((), (), ("first", "second")))


def test_other_records_are_rows() -> None:
    board = build_board(Results((), (RunRecord(run_of("solved", suite=None), Path("x")),), ()))
    assert board.suites == () and [row.architecture for row in board.others] == ["transformer"]


def test_records_of_figures_have_a_page_of_their_own() -> None:
    """They are no rows among the other records."""
    runs = [RunRecord(run_of("solved", suite=name), Path("x")) for name in ("figure_5b_lite", "lite_tuning")]
    assert [row.n for row in build_board(Results((), tuple(runs), ())).others] == [1]
    assert build_board(Results((), (runs[0],), ())).others == ()
